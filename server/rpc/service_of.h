// ServiceOf: what gRPC generates for a service, but with our choice for each call: a callback with
// messages, or one with raw bytes.
#pragma once

namespace unetd {

// `Calls`: the generated With(Raw)CallbackMethod_X, one a call.
template <typename Service, template <typename> class... Calls>
struct ServiceOf {
  using Type = Service;
};
template <typename Service, template <typename> class First, template <typename> class... Rest>
struct ServiceOf<Service, First, Rest...> {
  using Type = First<typename ServiceOf<Service, Rest...>::Type>;
};

}  // namespace unetd
