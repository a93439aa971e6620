#include "client/unetctl/npy_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>

#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kMaxDimensions = 32;
constexpr uint64_t kAlignment = 64;

struct Kind {
  std::string_view code;  // numpy's, without the byte order
  DType dtype;
};
constexpr std::array<Kind, 12> kKinds = {{{"f2", DType::kFloat16},
                                          {"f4", DType::kFloat32},
                                          {"f8", DType::kFloat64},
                                          {"b1", DType::kBool},
                                          {"i1", DType::kInt8},
                                          {"i2", DType::kInt16},
                                          {"i4", DType::kInt32},
                                          {"i8", DType::kInt64},
                                          {"u1", DType::kUInt8},
                                          {"u2", DType::kUInt16},
                                          {"u4", DType::kUInt32},
                                          {"u8", DType::kUInt64}}};

StatusOr<DType> DTypeFromDescr(std::string_view descr) {
  if (!descr.empty() && descr[0] == '>') {
    return InvalidArgument(
        Format("npy 'descr' {}: big-endian; expected little-endian", Quoted(descr)));
  }
  for (const Kind& kind : kKinds) {
    if (descr.size() != 3 || descr.substr(1) != kind.code) continue;
    if (descr[0] == '<' || (descr[0] == '|' && DTypeSize(kind.dtype) == 1)) return kind.dtype;
  }
  return InvalidArgument(
      Format("npy 'descr' {}: expected little-endian floats, integers or bools", Quoted(descr)));
}

// Reads the header's text: a Python dict of a string, a bool and a tuple of integers.
class DictReader {
 public:
  explicit DictReader(std::string_view text) : text_(text) {}

  StatusOr<NpyHeader> Read() {
    RETURN_IF_ERROR(Expect('{'));
    while (!Take('}')) {
      ASSIGN_OR_RETURN(const std::string_view key, String());
      RETURN_IF_ERROR(Expect(':'));
      RETURN_IF_ERROR(Value(key));
      if (Take(',')) continue;
      RETURN_IF_ERROR(Expect('}'));
      break;
    }
    SkipSpace();
    if (at_ != text_.size()) return Unexpected("the end");
    if (!descr_ || !fortran_order_ || !shape_) {
      return InvalidArgument("npy header: expected 'descr', 'fortran_order' and 'shape'");
    }
    if (*fortran_order_) {
      return InvalidArgument(
          "npy 'fortran_order' is True: expected C order (save numpy.ascontiguousarray(array))");
    }
    NpyHeader header;
    ASSIGN_OR_RETURN(header.dtype, DTypeFromDescr(*descr_));
    header.shape = *std::move(shape_);
    return header;
  }

 private:
  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool Take(char wanted) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  bool TakeWord(std::string_view word) {
    SkipSpace();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Status Expect(char wanted) {
    if (Take(wanted)) return OkStatus();
    return Unexpected(Format("'{}'", wanted));
  }

  Status Unexpected(std::string_view wanted) const {
    return InvalidArgument(
        Format("npy header: expected {} at {}", wanted, Quoted(text_.substr(at_))));
  }

  // In either kind of quotes; numpy writes no escapes, and none are read.
  StatusOr<std::string_view> String() {
    SkipSpace();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    const size_t end =
        quote == '\'' || quote == '"' ? text_.find(quote, at_ + 1) : std::string_view::npos;
    if (end == std::string_view::npos) return Unexpected("a string");
    const std::string_view string = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return string;
  }

  StatusOr<int64_t> Integer() {
    SkipSpace();
    const size_t start = at_;
    int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
          __builtin_add_overflow(value, int64_t{text_[at_] - '0'}, &value)) {
        return InvalidArgument("npy 'shape': a size is too large");
      }
    }
    if (at_ == start) return Unexpected("a size");
    return value;
  }

  StatusOr<Shape> Tuple() {
    RETURN_IF_ERROR(Expect('('));
    Shape shape;
    while (!Take(')')) {
      ASSIGN_OR_RETURN(const int64_t size, Integer());
      shape.push_back(size);
      if (shape.size() > kMaxDimensions) {
        return InvalidArgument(Format("npy 'shape': more than {} dimensions", kMaxDimensions));
      }
      if (Take(',')) continue;
      // Without a comma one number in parentheses is no tuple.
      if (shape.size() == 1) return Unexpected("','");
      RETURN_IF_ERROR(Expect(')'));
      break;
    }
    return shape;
  }

  Status Value(std::string_view key) {
    if (key == "descr" && !descr_) {
      ASSIGN_OR_RETURN(descr_, String());
    } else if (key == "shape" && !shape_) {
      ASSIGN_OR_RETURN(shape_, Tuple());
    } else if (key == "fortran_order" && !fortran_order_) {
      if (TakeWord("True")) {
        fortran_order_ = true;
      } else if (TakeWord("False")) {
        fortran_order_ = false;
      } else {
        return Unexpected("True or False");
      }
    } else {
      return InvalidArgument(
          Format("npy header: key {}: expected 'descr', 'fortran_order' and 'shape', once each",
                 Quoted(key)));
    }
    return OkStatus();
  }

  std::string_view text_;
  size_t at_ = 0;
  std::optional<std::string_view> descr_;
  std::optional<bool> fortran_order_;
  std::optional<Shape> shape_;
};

}  // namespace

StatusOr<NpyHeader> ParseNpyHeader(std::span<const uint8_t> bytes, uint64_t file_size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.substr(0, kMagic.size()) != kMagic) {
    return InvalidArgument("not an npy file: it does not begin with \\x93NUMPY");
  }
  if (bytes.size() < kMagic.size() + 2) return InvalidArgument("npy header: cut short");
  const int version = bytes[6];
  if (version != 1 && version != 2) {
    return InvalidArgument(
        Format("npy version {}.{}: expected 1.0 or 2.0", version, static_cast<int>(bytes[7])));
  }
  const size_t length_bytes = version == 1 ? 2 : 4;
  const size_t start = kMagic.size() + 2 + length_bytes;
  if (bytes.size() < start) return InvalidArgument("npy header: cut short");
  uint64_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) {
    length |= static_cast<uint64_t>(bytes[start - length_bytes + i]) << (8 * i);
  }
  if (length > kMaxNpyHeader - start) {
    return InvalidArgument(
        Format("npy header: {} bytes long; expected at most {}", length, kMaxNpyHeader - start));
  }
  if (length > bytes.size() - start) return InvalidArgument("npy header: cut short");
  ASSIGN_OR_RETURN(NpyHeader header, DictReader(text.substr(start, length)).Read());
  header.data_start = start + length;
  const auto data = CheckedBytes(header.shape, header.dtype);
  if (!data.ok()) return data.status().WithContext("npy 'shape': ");
  const uint64_t there = file_size - std::min(file_size, header.data_start);
  if (there != *data) {
    return InvalidArgument(Format("npy data: {} {} needs {} bytes, the file has {}",
                                  TorchName(header.dtype), ShapeText(header.shape), *data, there));
  }
  return header;
}

StatusOr<std::string> NpyHeaderBytes(DType dtype, const Shape& shape) {
  const auto kind = std::find_if(kKinds.begin(), kKinds.end(),
                                 [&](const Kind& known) { return known.dtype == dtype; });
  if (kind == kKinds.end()) {
    return InvalidArgument(
        Format("npy files cannot hold {}: write .safetensors instead", TorchName(dtype)));
  }
  std::string sizes;
  for (const int64_t size : shape) sizes += Format("{}{}", sizes.empty() ? "" : ", ", size);
  if (shape.size() == 1) sizes += ",";
  std::string dict = Format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}",
                            DTypeSize(dtype) == 1 ? '|' : '<', kind->code, sizes);
  constexpr size_t kPreamble = 10;  // magic, version, 16-bit length
  const size_t unpadded = kPreamble + dict.size() + 1;
  dict.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  dict += '\n';
  if (dict.size() > std::numeric_limits<uint16_t>::max()) {
    return InvalidArgument(Format("npy: {} dimensions are too many", shape.size()));
  }
  std::string bytes(kMagic);
  bytes +=
      {'\x01', '\x00', static_cast<char>(dict.size() & 0xFF), static_cast<char>(dict.size() >> 8)};
  return bytes + dict;
}

}  // namespace unetd::unetctl
