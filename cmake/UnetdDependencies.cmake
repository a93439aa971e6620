# Header-only libraries that a room may use without gRPC on the machine. They are found by header, not by package
# configuration, so that a bare machine with unpacked headers (CMAKE_PREFIX_PATH) serves as well.
find_package(Threads REQUIRED)

function(unetd_header_library target header)
  find_path(UNETD_INCLUDE_${target} ${header})
  if(NOT UNETD_INCLUDE_${target})
    message(FATAL_ERROR "${header} not found: run scripts/setup, or give its folder in CMAKE_PREFIX_PATH")
  endif()
  add_library(unetd_${target} INTERFACE)
  target_include_directories(unetd_${target} SYSTEM INTERFACE ${UNETD_INCLUDE_${target}})
endfunction()

unetd_header_library(json nlohmann/json.hpp)
unetd_header_library(fmt fmt/format.h)
# fmt's library where there is one: header-only it more than doubles the time to compile a file.
find_library(UNETD_FMT_LIBRARY fmt)
if(UNETD_FMT_LIBRARY)
  target_link_libraries(unetd_fmt INTERFACE ${UNETD_FMT_LIBRARY})
else()
  target_compile_definitions(unetd_fmt INTERFACE FMT_HEADER_ONLY)
endif()
unetd_header_library(spdlog spdlog/spdlog.h)
target_compile_definitions(unetd_spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
target_link_libraries(unetd_spdlog INTERFACE unetd_fmt Threads::Threads)
