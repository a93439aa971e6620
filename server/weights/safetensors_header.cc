#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "server/base/text.h"
#include "server/weights/safetensors.h"

namespace unetd {
namespace {

constexpr char kMetadata[] = "__metadata__";
constexpr size_t kMaxRank = 16;
constexpr size_t kLengthBytes = 8;

// Reads {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ...,
// "__metadata__": {"key": "text"}} as the parser meets it: no tree is built, so a header costs what
// its tensors cost, and nothing nests.
class HeaderReader {
 public:
  HeaderReader(SafetensorsHeader& header, uint64_t data_bytes)
      : header_(header), data_bytes_(data_bytes) {}

  const std::string& error() const { return error_; }

  bool null() { return Unexpected("null"); }
  bool boolean(bool) { return Unexpected("a boolean"); }
  bool number_float(double, const std::string& text) { return Unexpected(text); }
  bool number_integer(int64_t value) { return Unexpected(std::to_string(value)); }
  bool binary(std::vector<uint8_t>&) { return Unexpected("bytes"); }

  bool number_unsigned(uint64_t value) {
    if (place_ != Place::kShape && place_ != Place::kOffsets) {
      return Unexpected(std::to_string(value));
    }
    auto& list = place_ == Place::kShape ? shape_ : offsets_;
    if (list->size() == (place_ == Place::kShape ? kMaxRank : 2)) {
      return Fail(Format("more than {} numbers in {}", list->size(), key_));
    }
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Fail(Format("{} in {} is too large", value, key_));
    }
    list->push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(std::string& text) {
    if (place_ == Place::kMetadata) {
      header_.metadata[key_] = std::move(text);
      return true;
    }
    if (place_ != Place::kTensor || key_ != "dtype") return Unexpected(Quoted(text));
    dtype_ = DTypeFromSafetensorsName(text);
    return dtype_ || Fail(Format("dtype {} is not supported", Quoted(text)));
  }

  bool start_object(size_t) {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop) {
      const bool metadata = name_ == kMetadata;
      place_ = metadata ? Place::kMetadata : Place::kTensor;
      dtype_.reset();
      shape_.reset();
      offsets_.reset();
    } else {
      return Unexpected("an object");
    }
    return true;
  }

  bool end_object() {
    if (place_ == Place::kTop) {
      place_ = Place::kEnd;
      return true;
    }
    const bool ended = place_ == Place::kMetadata || FinishTensor();
    place_ = Place::kTop;
    return ended;
  }

  bool start_array(size_t) {
    if (place_ != Place::kTensor) return Unexpected("a list");
    if (key_ == "shape") {
      place_ = Place::kShape;
      shape_.emplace();
    } else if (key_ == "data_offsets") {
      place_ = Place::kOffsets;
      offsets_.emplace();
    } else {
      return Unexpected("a list");
    }
    return true;
  }

  bool end_array() {
    place_ = Place::kTensor;
    return true;
  }

  bool key(std::string& text) {
    if (place_ == Place::kTop) {
      name_ = std::move(text);
      if (name_ != kMetadata) return !header_.tensors.contains(name_) || Fail("is there twice");
      return !std::exchange(has_metadata_, true) || Fail("is there twice");
    }
    key_ = std::move(text);
    if (place_ == Place::kMetadata) {
      return !header_.metadata.contains(key_) || Fail(Format("{} is there twice", Quoted(key_)));
    }
    const bool known = key_ == "dtype" || key_ == "shape" || key_ == "data_offsets";
    if (!known) return Fail(Format("unknown key {}", Quoted(key_)));
    const bool twice = key_ == "dtype"   ? dtype_.has_value()
                       : key_ == "shape" ? shape_.has_value()
                                         : offsets_.has_value();
    return !twice || Fail(Format("{} is there twice", Quoted(key_)));
  }

  // The exception's own text may quote the header at length and unescaped, so only the place is
  // told.
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) {
    name_.clear();
    place_ = Place::kStart;
    return Fail(Format("the header is not JSON at its byte {}", position));
  }

 private:
  enum class Place { kStart, kTop, kTensor, kShape, kOffsets, kMetadata, kEnd };

  bool Fail(const std::string& what) {
    const bool inside = place_ != Place::kStart && place_ != Place::kEnd;
    error_ = inside ? Format("{} {}: {}", name_ == kMetadata ? "metadata" : "tensor", Quoted(name_),
                             what)
                    : what;
    return false;
  }

  bool Unexpected(std::string_view what) {
    switch (place_) {
      case Place::kStart:
      case Place::kEnd:
        return Fail(Format("expected the header to be an object, got {}", what));
      case Place::kTop:
        return Fail(Format("expected an object, got {}", what));
      case Place::kMetadata:
        return Fail(Format("expected text for {}, got {}", Quoted(key_), what));
      case Place::kShape:
      case Place::kOffsets:
        return Fail(Format("expected integers >= 0 in {}, got {}", key_, what));
      case Place::kTensor:
        break;
    }
    return Fail(
        Format("expected {} for {}, got {}", key_ == "dtype" ? "text" : "a list", key_, what));
  }

  bool FinishTensor() {
    if (!dtype_) return Fail("dtype is missing");
    if (!shape_) return Fail("shape is missing");
    if (!offsets_ || offsets_->size() != 2) return Fail("expected two data_offsets");
    const auto bytes = CheckedBytes(*shape_, *dtype_);
    if (!bytes.ok()) return Fail(bytes.status().message());
    const auto begin = static_cast<uint64_t>((*offsets_)[0]);
    const auto end = static_cast<uint64_t>((*offsets_)[1]);
    if (begin > end || end > data_bytes_) {
      return Fail(Format("data_offsets [{},{}] are not within the file's {} bytes of data", begin,
                         end, data_bytes_));
    }
    if (*bytes != end - begin) {
      return Fail(Format("shape {} of {} has {} bytes, data_offsets [{},{}] have {}",
                         ShapeText(*shape_), TorchName(*dtype_), *bytes, begin, end, end - begin));
    }
    header_.tensors[name_] = {*dtype_, std::move(*shape_), begin, end};
    return true;
  }

  SafetensorsHeader& header_;
  const uint64_t data_bytes_;
  Place place_ = Place::kStart;
  std::string name_;  // of the tensor, or kMetadata
  std::string key_;   // inside it
  bool has_metadata_ = false;
  std::optional<DType> dtype_;
  std::optional<Shape> shape_;
  std::optional<Shape> offsets_;
  std::string error_;
};

// In the order of their offsets, each tensor begins where the one before ends, and the last ends
// with the file.
Status CheckCover(const SafetensorsHeader& header, uint64_t data_bytes) {
  using Item = std::pair<const std::string, SafetensorsHeader::Entry>;
  std::vector<const Item*> items;
  items.reserve(header.tensors.size());
  for (const Item& item : header.tensors) items.push_back(&item);
  std::sort(items.begin(), items.end(), [](const Item* a, const Item* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t covered = 0;
  for (const Item* item : items) {
    const auto& [name, entry] = *item;
    if (entry.begin != covered) {
      return InvalidArgument(
          Format("tensor {}: {}: expected it to begin at byte {}, got {}", Quoted(name),
                 entry.begin < covered ? "overlaps the one before" : "there is a hole before it",
                 covered, entry.begin));
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    return InvalidArgument(
        Format("the tensors have {} bytes, the file has {} bytes of data", covered, data_bytes));
  }
  return OkStatus();
}

Status ParseJson(std::string_view json, HeaderReader& reader) {
  if (json.empty() || json[0] != '{') {
    return InvalidArgument("expected the header to begin with '{'");
  }
  try {
    if (nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) return OkStatus();
  } catch (const nlohmann::json::exception&) {
    return InvalidArgument("the header is not JSON");
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(Format("no memory for a header of {}", HumanBytes(json.size())));
  }
  return InvalidArgument(reader.error());
}

}  // namespace

StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::span<const uint8_t> bytes,
                                                   uint64_t file_size) {
  if (file_size < kLengthBytes || bytes.size() < kLengthBytes) {
    return InvalidArgument(
        Format("expected at least 8 bytes, got {}: truncated, or no safetensors "
               "file",
               std::min<uint64_t>(file_size, bytes.size())));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) length |= uint64_t{bytes[i]} << (8 * i);
  if (length > kMaxSafetensorsHeader) {
    return InvalidArgument(Format("the header's length is {}, more than {}: no safetensors file",
                                  length, kMaxSafetensorsHeader));
  }
  const uint64_t available = std::min<uint64_t>(file_size, bytes.size()) - kLengthBytes;
  if (length > available) {
    return InvalidArgument(Format("the header's length is {}, but only {} bytes follow: truncated",
                                  length, available));
  }
  SafetensorsHeader header;
  header.data_start = kLengthBytes + length;
  const uint64_t data_bytes = file_size - header.data_start;
  const std::string_view json(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  HeaderReader reader(header, data_bytes);
  RETURN_IF_ERROR(ParseJson(json, reader));
  RETURN_IF_ERROR(CheckCover(header, data_bytes));
  return header;
}

}  // namespace unetd
