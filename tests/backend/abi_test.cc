// The ABI's layout on 64-bit machines. A change here breaks every plugin that is out there: it
// needs a new version.
#include <gtest/gtest.h>

#include <cstddef>

#include "backends/api/unetd_backend.h"

namespace {

TEST(Abi, TheVersionThatTheseNumbersBelongTo) {
  EXPECT_EQ(UNETD_ABI_MAJOR, 1);
  EXPECT_EQ(UNETD_ABI_MINOR, 1);
}

TEST(Abi, Sizes) {
  EXPECT_EQ(sizeof(unetd_view), 24u);
  EXPECT_EQ(sizeof(unetd_conv2d), 19u * 4);
  EXPECT_EQ(sizeof(unetd_op_desc), 24u + 16 * 24 + 256);
  EXPECT_EQ(sizeof(unetd_weight), 48u);
  EXPECT_EQ(sizeof(unetd_recipe), 104u);
  EXPECT_EQ(sizeof(unetd_operand), 16u);
  EXPECT_EQ(sizeof(unetd_args), 8u + 16 * 16 + 16 * 8);
  EXPECT_EQ(sizeof(unetd_gang), 24u);
  EXPECT_EQ(sizeof(unetd_exec), 136u);
  EXPECT_EQ(sizeof(unetd_prepared), 224u);
  EXPECT_EQ(sizeof(unetd_error), 512u);
  EXPECT_EQ(sizeof(unetd_host), 16u);
  EXPECT_EQ(sizeof(unetd_backend_info), 176u);
  EXPECT_EQ(sizeof(unetd_backend), 24u + 16 * 8);
}

TEST(Abi, Offsets) {
  // The host reads these before it knows the rest.
  EXPECT_EQ(offsetof(unetd_backend, struct_size), 0u);
  EXPECT_EQ(offsetof(unetd_backend, abi_major), 4u);
  EXPECT_EQ(offsetof(unetd_backend, abi_minor), 6u);
  EXPECT_EQ(offsetof(unetd_backend, name), 8u);
  EXPECT_EQ(offsetof(unetd_backend, supports), 104u);
  EXPECT_EQ(offsetof(unetd_backend, release), 144u);
  EXPECT_EQ(offsetof(unetd_op_desc, args), 24u);
  EXPECT_EQ(offsetof(unetd_op_desc, u), 408u);
  EXPECT_EQ(offsetof(unetd_exec, workspace), 104u);
  EXPECT_EQ(offsetof(unetd_args, weights), 264u);
}

}  // namespace
