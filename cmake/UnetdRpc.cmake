# What sees protobuf and gRPC: the code generated from proto/, server/rpc, unetd and unetctl.
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(PNG REQUIRED)
find_program(UNETD_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
unetd_header_library(cli11 CLI/CLI.hpp)
# Prometheus' serializer on our own civetweb server: no need for its config package, which asks for curl.
find_path(UNETD_PROMETHEUS_INCLUDE prometheus/text_serializer.h REQUIRED)
find_library(UNETD_PROMETHEUS_CORE prometheus-cpp-core REQUIRED)
find_path(UNETD_CIVETWEB_INCLUDE civetweb.h REQUIRED)
find_library(UNETD_CIVETWEB civetweb REQUIRED)
find_library(UNETD_CIVETWEB_CPP civetweb-cpp REQUIRED)

add_library(unetd_http INTERFACE)
target_include_directories(unetd_http SYSTEM INTERFACE ${UNETD_PROMETHEUS_INCLUDE} ${UNETD_CIVETWEB_INCLUDE})
target_link_libraries(unetd_http INTERFACE ${UNETD_PROMETHEUS_CORE} ${UNETD_CIVETWEB_CPP} ${UNETD_CIVETWEB})

# proto/a/b.proto -> <build>/gen/a/b.pb.{h,cc} and b.grpc.pb.{h,cc}; included as "a/b.pb.h".
set(gen ${CMAKE_BINARY_DIR}/gen)
file(MAKE_DIRECTORY ${gen})
file(GLOB_RECURSE protos CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/proto ${CMAKE_SOURCE_DIR}/proto/*.proto)
set(generated)
foreach(proto ${protos})
  string(REGEX REPLACE "\\.proto$" "" stem ${proto})
  set(outputs ${gen}/${stem}.pb.cc ${gen}/${stem}.pb.h ${gen}/${stem}.grpc.pb.cc ${gen}/${stem}.grpc.pb.h)
  add_custom_command(OUTPUT ${outputs}
    COMMAND protobuf::protoc -I ${CMAKE_SOURCE_DIR}/proto --cpp_out ${gen} --grpc_out ${gen}
            --plugin=protoc-gen-grpc=${UNETD_GRPC_CPP_PLUGIN} ${proto}
    DEPENDS ${CMAKE_SOURCE_DIR}/proto/${proto} VERBATIM)
  list(APPEND generated ${outputs})
endforeach()
# Every proto file that another one imports must be generated before any is compiled: one library, one target.
add_library(unetd_proto STATIC ${generated})
target_include_directories(unetd_proto SYSTEM PUBLIC ${gen})
target_link_libraries(unetd_proto PUBLIC protobuf::libprotobuf gRPC::grpc++ gRPC::grpc++_reflection)

unetd_room(rpc LINK unetd_serving unetd_proto unetd_http)
if(TARGET unetd_rpc)
  get_target_property(rpc_type unetd_rpc TYPE)
  if(rpc_type STREQUAL "STATIC_LIBRARY")
    target_compile_definitions(unetd_rpc PRIVATE UNETD_VERSION="${PROJECT_VERSION}")
  endif()
endif()

if(EXISTS ${CMAKE_SOURCE_DIR}/server/main.cc)
  add_executable(unetd ${CMAKE_SOURCE_DIR}/server/main.cc)
  target_link_libraries(unetd PRIVATE unetd_rpc unetd_cli11 unetd_warnings)
  target_compile_definitions(unetd PRIVATE UNETD_VERSION="${PROJECT_VERSION}")
  set_target_properties(unetd PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${UNETD_BIN_DIR})
endif()

file(GLOB unetctl_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/client/unetctl/*.cc)
if(unetctl_sources)
  # All but main is a library, so that tests/unetctl can call it.
  set(unetctl_main ${CMAKE_SOURCE_DIR}/client/unetctl/main.cc)
  list(REMOVE_ITEM unetctl_sources ${unetctl_main})
  add_library(unetd_unetctl STATIC ${unetctl_sources})
  target_include_directories(unetd_unetctl PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(unetd_unetctl PUBLIC unetd_proto unetd_weights unetd_cli11 PNG::PNG
                        PRIVATE unetd_json unetd_warnings)
  add_executable(unetctl ${unetctl_main})
  target_link_libraries(unetctl PRIVATE unetd_unetctl unetd_warnings)
  target_compile_definitions(unetctl PRIVATE UNETD_VERSION="${PROJECT_VERSION}")
  set_target_properties(unetctl PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${UNETD_BIN_DIR})
endif()
