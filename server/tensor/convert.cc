#include "server/tensor/convert.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "server/base/text.h"
#include "server/tensor/half.h"

namespace unetd {
namespace {

// Names of element types whose C++ type would be ambiguous.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
struct Bool {
  uint8_t byte;
};

// A number of a C++ type: float for the small floats.
inline float Load(Half value) { return HalfToFloat(value.bits); }
inline float Load(BFloat16 value) { return BFloat16ToFloat(value.bits); }
inline uint8_t Load(Bool value) { return value.byte != 0; }
template <typename T>
T Load(T value) {
  return value;
}

// Is `value`, truncated towards zero, a number of T? False for NaN.
template <typename T, typename From>
bool Fits(From value) {
  if constexpr (std::is_floating_point_v<From>) {
    // The bounds are powers of two (or 0), exact in any float, where T's largest value may not be.
    const From above = std::ldexp(From{1}, std::numeric_limits<T>::digits);
    const From low = std::is_signed_v<T> ? -above : From{0};
    const From whole = std::trunc(value);
    return whole >= low && whole < above;
  } else {
    return std::in_range<T>(value);
  }
}

template <typename Dst, typename From>
bool Store(From value, Dst& dst) {
  if constexpr (std::is_same_v<Dst, Half>) {
    dst.bits = FloatToHalf(static_cast<float>(value));
  } else if constexpr (std::is_same_v<Dst, BFloat16>) {
    dst.bits = FloatToBFloat16(static_cast<float>(value));
  } else if constexpr (std::is_same_v<Dst, Bool>) {
    dst.byte = value != From{0};
  } else if constexpr (std::is_floating_point_v<Dst>) {
    dst = static_cast<Dst>(value);
  } else {
    if (!Fits<Dst>(value)) return false;
    dst = static_cast<Dst>(value);
  }
  return true;
}

template <typename Src, typename Dst>
Status ConvertRun(const TensorView& view, DType dst_dtype, void* to) {
  const Src* src = view.as<Src>();
  Dst* dst = static_cast<Dst*>(to);
  const uint64_t count = view.elements();
  if constexpr (std::is_same_v<Src, Half> && std::is_same_v<Dst, float>) {
    HalfToFloat(view.as<uint16_t>(), dst, count);
  } else if constexpr (std::is_same_v<Src, float> && std::is_same_v<Dst, Half>) {
    FloatToHalf(src, static_cast<uint16_t*>(to), count);
  } else {
    for (uint64_t i = 0; i < count; ++i) {
      const auto value = Load(src[i]);
      if (!Store(value, dst[i])) {
        return InvalidArgument(Format("element {}: expected a value that {} can hold, got {}", i,
                                      TorchName(dst_dtype), value));
      }
    }
  }
  return OkStatus();
}

// Calls `use` with a value of the dtype's C++ type.
template <typename Use>
Status WithType(DType dtype, const Use& use) {
  switch (dtype) {
    case DType::kFloat32:
      return use(float{});
    case DType::kFloat16:
      return use(Half{});
    case DType::kBFloat16:
      return use(BFloat16{});
    case DType::kFloat64:
      return use(double{});
    case DType::kBool:
      return use(Bool{});
    case DType::kInt8:
      return use(int8_t{});
    case DType::kInt16:
      return use(int16_t{});
    case DType::kInt32:
      return use(int32_t{});
    case DType::kInt64:
      return use(int64_t{});
    case DType::kUInt8:
      return use(uint8_t{});
    case DType::kUInt16:
      return use(uint16_t{});
    case DType::kUInt32:
      return use(uint32_t{});
    case DType::kUInt64:
      return use(uint64_t{});
  }
  return InvalidArgument(Format("unknown dtype number {}", static_cast<int32_t>(dtype)));
}

}  // namespace

Status Convert(const TensorView& src, DType dst_dtype, void* dst) {
  if (src.bytes == 0) return OkStatus();
  if (src.dtype == dst_dtype && src.dtype != DType::kBool) {
    std::memcpy(dst, src.data, src.bytes);
    return OkStatus();
  }
  return WithType(src.dtype, [&](auto from) {
    return WithType(dst_dtype, [&](auto to) {
      return ConvertRun<decltype(from), decltype(to)>(src, dst_dtype, dst);
    });
  });
}

StatusOr<Tensor> ConvertedTo(const TensorView& src, DType dst_dtype) {
  ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(dst_dtype, src.shape));
  if (tensor.elements() != src.elements()) {
    return InvalidArgument(Format("a tensor {} of {} has {} elements, got {} bytes",
                                  ShapeText(src.shape), TorchName(src.dtype), tensor.elements(),
                                  src.bytes));
  }
  RETURN_IF_ERROR(Convert(src, dst_dtype, tensor.data()));
  return tensor;
}

}  // namespace unetd
