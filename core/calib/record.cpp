// SPDX-License-Identifier: Apache-2.0
#include "core/calib/record.h"

#include "core/io/files.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

namespace bitlathe {

namespace {

constexpr std::size_t gram = 48;    ///< tokens of one fingerprint
constexpr std::size_t distinct = 8; ///< with fewer different tokens it is filler, found anywhere
constexpr std::uint64_t base = 0x9e3779b97f4a7c15u;

std::uint64_t mixed(std::uint64_t x) { // the finalizer of splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// The hash of every `gram` tokens in a row.
std::vector<std::uint64_t> gram_hashes(std::span<const std::int32_t> ids) {
  std::vector<std::uint64_t> out;
  if (ids.size() < gram)
    return out;
  out.reserve(ids.size() - gram + 1);
  std::uint64_t leaving = 1, sum = 0; // base to the power of gram - 1
  for (std::size_t i = 1; i < gram; ++i)
    leaving *= base;
  const auto value = [&](std::size_t i) { return std::uint64_t(std::uint32_t(ids[i])) + 1; };
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i >= gram)
      sum -= value(i - gram) * leaving;
    sum = sum * base + value(i);
    if (i + 1 >= gram)
      out.push_back(mixed(sum));
  }
  return out;
}

bool is_filler(std::span<const std::int32_t> ids) {
  return std::set<std::int32_t>(ids.begin(), ids.end()).size() < distinct;
}

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// The parts of one file with one seed do not meet.
bool kept_apart(const CalibrationSource& a, const CalibrationSource& b) {
  return !a.split.empty() && !b.split.empty() && a.split != b.split && a.split_seed == b.split_seed;
}

CalibrationRecord record_in(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_regular_file(folder / "result.json", ignored))
    return {};
  const auto json = read_json_file(folder / "result.json");
  if (!json || !json->is_object() || !json->contains("calibration"))
    return {};
  auto record = record_from_json((*json)["calibration"], folder.string());
  return record ? std::move(*record) : CalibrationRecord();
}

} // namespace

std::string content_hash(std::string_view bytes) {
  std::uint64_t h = 0xcbf29ce484222325u; // FNV-1a
  for (const char c : bytes)
    h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hex(mixed(h ^ bytes.size()));
}

std::vector<std::uint64_t> fingerprints(const std::vector<std::vector<std::int32_t>>& windows) {
  std::vector<std::uint64_t> out;
  for (const auto& window : windows) {
    const auto hashes = gram_hashes(window);
    std::size_t least = 0, kept = hashes.size();
    for (std::size_t end = std::min(gram, hashes.size()); end <= hashes.size() && end > 0; ++end) {
      const std::size_t begin = end - std::min(gram, end);
      if (least < begin || end <= gram)
        least = std::size_t(std::min_element(hashes.begin() + std::ptrdiff_t(begin),
                                             hashes.begin() + std::ptrdiff_t(end)) -
                            hashes.begin());
      else if (hashes[end - 1] < hashes[least])
        least = end - 1;
      if (least != kept && !is_filler(std::span(window).subspan(least, gram)))
        out.push_back(hashes[least]);
      kept = least;
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

CalibrationRecord make_record(const std::vector<CalibrationFile>& files,
                              const std::vector<std::vector<std::int32_t>>& windows) {
  CalibrationRecord record;
  record.fingerprints = fingerprints(windows);
  record.windows = std::int64_t(windows.size());
  for (const CalibrationFile& file : files) {
    const auto content = read_file(file.path, std::uint64_t(1) << 30);
    record.sources.push_back(
        {file.path, content ? content_hash(*content) : std::string(), file.split, file.split_seed});
  }
  return record;
}

std::vector<bool> windows_that_overlap(const CalibrationRecord& record,
                                       std::span<const std::int32_t> ids, std::int64_t context) {
  std::vector<bool> out;
  if (context < 1)
    return out;
  const auto length = std::size_t(context);
  for (std::size_t at = 0; at + length <= ids.size(); at += length) {
    const auto hashes = gram_hashes(ids.subspan(at, length));
    out.push_back(std::any_of(hashes.begin(), hashes.end(), [&](std::uint64_t hash) {
      return std::binary_search(record.fingerprints.begin(), record.fingerprints.end(), hash);
    }));
  }
  return out;
}

OrderedJson record_to_json(const CalibrationRecord& record) {
  OrderedJson json;
  json["windows"] = record.windows;
  json["sources"] = OrderedJson::array();
  for (const CalibrationSource& source : record.sources) {
    OrderedJson entry{{"path", source.path}, {"content", source.content}};
    if (!source.split.empty()) {
      entry["split"] = source.split;
      entry["split_seed"] = source.split_seed;
    }
    json["sources"].push_back(std::move(entry));
  }
  std::string prints;
  for (const std::uint64_t print : record.fingerprints)
    prints += hex(print);
  json["fingerprints"] = prints;
  return json;
}

Result<CalibrationRecord> record_from_json(const Json& json, const std::string& where) {
  CalibrationRecord record;
  if (!json.is_object())
    return Error{"bad-file", "\"calibration\" must be an object", where};
  TRY_ASSIGN(record.windows, json_int_or(json, "windows", 0, where));
  for (const Json& entry : json.value("sources", Json::array())) {
    CalibrationSource source;
    TRY_ASSIGN(source.path, json_string_or(entry, "path", "", where));
    TRY_ASSIGN(source.content, json_string_or(entry, "content", "", where));
    TRY_ASSIGN(source.split, json_string_or(entry, "split", "", where));
    TRY_ASSIGN(source.split_seed, json_int_or(entry, "split_seed", 0, where));
    record.sources.push_back(std::move(source));
  }
  TRY_ASSIGN(const std::string prints, json_string_or(json, "fingerprints", "", where));
  if (prints.size() % 16 != 0 || prints.find_first_not_of("0123456789abcdef") != std::string::npos)
    return Error{"bad-file", "The fingerprints of the calibration text are damaged", where};
  for (std::size_t at = 0; at < prints.size(); at += 16)
    record.fingerprints.push_back(std::strtoull(prints.substr(at, 16).c_str(), nullptr, 16));
  std::sort(record.fingerprints.begin(), record.fingerprints.end());
  return record;
}

CalibrationRecord find_record(const fs::path& checkpoint) {
  fs::path path = fs::absolute(checkpoint).lexically_normal();
  if (!path.has_filename())
    path = path.parent_path();
  if (auto own = record_in(path); !own.empty())
    return own;
  // An export of several formats has a folder for each; a GGUF lies in one.
  for (int up = 0; up < 3 && path.has_filename(); ++up, path = path.parent_path())
    if (auto kept = record_in(path / ".bitlathe"); !kept.empty())
      return kept;
  return {};
}

std::vector<std::string> overlap_notes(const CalibrationRecord& record, const JudgedText& text,
                                       const std::string& checkpoint) {
  std::vector<std::string> notes;
  auto windows = windows_that_overlap(record, text.ids, text.context);
  if (text.chunks > 0 && std::int64_t(windows.size()) > text.chunks)
    windows.resize(std::size_t(text.chunks));
  const auto met = std::count(windows.begin(), windows.end(), true);
  const auto same = std::find_if(
      record.sources.begin(), record.sources.end(), [&](const CalibrationSource& source) {
        return !source.content.empty() && source.content == text.source.content &&
               !kept_apart(source, text.source);
      });
  const std::string file = same == record.sources.end() ? "" : " (" + same->path + ")";
  if (met > 0)
    notes.push_back(checkpoint + " was calibrated on this text" + file + ": " +
                    std::to_string(met) + " of " + std::to_string(windows.size()) +
                    " windows hold text of its calibration, and figures on them flatter it. Judge "
                    "it on text that it has not met");
  else if (same != record.sources.end())
    notes.push_back(checkpoint + " was calibrated on other windows of this file" + file +
                    ". Split the file into parts, or judge on another text");
  return notes;
}

} // namespace bitlathe
