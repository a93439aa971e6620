// A hash that is the same on every machine, in every build and every version.
#pragma once

#include <cstdint>
#include <string_view>

namespace unetd {

// XXH64 as its specification has it (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), so that other
// programs can compute it too. It decides which variant a request gets: it must never change. Not
// for secrets.
uint64_t StableHash(std::string_view bytes, uint64_t seed = 0);

}  // namespace unetd
