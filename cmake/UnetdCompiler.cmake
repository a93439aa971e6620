# How our own targets are compiled, and where the results go.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "" FORCE)
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "" FORCE)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# bin/ and lib/unetd/ are siblings: unetd finds its backends at ../lib/unetd from its own place.
set(UNETD_BIN_DIR ${CMAKE_BINARY_DIR}/bin)
set(UNETD_PLUGIN_DIR ${CMAKE_BINARY_DIR}/lib/unetd)

find_program(UNETD_CCACHE ccache)
if(UNETD_CCACHE)
  foreach(language C CXX)
    if(NOT CMAKE_${language}_COMPILER_LAUNCHER)
      set(CMAKE_${language}_COMPILER_LAUNCHER ${UNETD_CCACHE})
    endif()
  endforeach()
endif()

# Our warnings: generated code does not link this.
add_library(unetd_warnings INTERFACE)
target_compile_options(unetd_warnings INTERFACE -Wall -Wextra -Werror)

if(UNETD_SANITIZE STREQUAL "address")
  set(sanitize -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
elseif(UNETD_SANITIZE STREQUAL "thread")
  set(sanitize -fsanitize=thread -fno-omit-frame-pointer)
elseif(UNETD_SANITIZE)
  message(FATAL_ERROR "UNETD_SANITIZE: expected address, thread or nothing, got ${UNETD_SANITIZE}")
endif()
if(sanitize)
  add_compile_options(${sanitize})
  add_link_options(${sanitize})
  # gcc's flow analysis is wrong about instrumented code.
  target_compile_options(unetd_warnings INTERFACE -Wno-error=maybe-uninitialized
    $<$<CXX_COMPILER_ID:Clang>:-Wno-unknown-warning-option>)
endif()

if(UNETD_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "UNETD_FUZZ needs clang: configure with -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
