// SPDX-License-Identifier: Apache-2.0
// Calibration text into windows of tokens.
#include "core/calib/statistics.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace bitlathe {

namespace {

/// A number in [0, n); the standard fixes the generator's output but not its distributions'.
std::uint64_t below(std::mt19937_64& random, std::uint64_t n) {
  const std::uint64_t limit = std::uint64_t(-1) - std::uint64_t(-1) % n;
  std::uint64_t x;
  do {
    x = random();
  } while (x >= limit);
  return x % n;
}

/// Documents of a .jsonl file: the field "text", or "prompt".
Result<std::vector<std::string>> read_documents(const std::string& content,
                                                const std::string& path) {
  std::vector<std::string> out;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    const auto line = std::string_view(content).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
      continue;
    const std::string where = path + " line " + std::to_string(number);
    TRY_ASSIGN(const Json json, parse_json(line, where));
    TRY_ASSIGN(std::string text, json_string_or(json, "text", {}, where));
    if (text.empty()) {
      TRY_ASSIGN(text, json_string_or(json, "prompt", {}, where));
    }
    if (text.empty())
      return Error{"bad-file", "There is neither \"text\" nor \"prompt\" with content", where};
    out.push_back(std::move(text));
  }
  return out;
}

Result<std::vector<std::int32_t>> read_tokens(const Tokenizer& tokenizer, const std::string& path) {
  constexpr std::uint64_t largest = std::uint64_t(1) << 30;
  TRY_ASSIGN(const std::string content, read_file(path, largest));
  std::vector<std::int32_t> ids;
  if (!path.ends_with(".jsonl")) {
    ids = tokenizer.encode(content, {true, false});
    return ids;
  }
  TRY_ASSIGN(const auto documents, read_documents(content, path));
  for (const std::string& text : documents) {
    const auto part = tokenizer.encode(text, {true, false});
    ids.insert(ids.end(), part.begin(), part.end());
    if (!tokenizer.adds_bos() && !tokenizer.adds_eos() && tokenizer.eos() >= 0)
      ids.push_back(tokenizer.eos()); // something must mark where a document ends
  }
  return ids;
}

/// `samples` split in proportion to the weights, by largest remainder (the first of equals).
std::vector<std::int64_t> shares(const std::vector<CalibrationFile>& files, std::int64_t samples) {
  double total = 0;
  for (const auto& file : files)
    total += file.weight;
  std::vector<std::int64_t> out;
  std::vector<std::size_t> order(files.size());
  std::vector<double> remainder;
  std::int64_t left = samples;
  for (const auto& file : files) {
    const double exact = double(samples) * file.weight / total;
    out.push_back(std::int64_t(std::floor(exact)));
    remainder.push_back(exact - std::floor(exact));
    left -= out.back();
  }
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return remainder[a] > remainder[b]; });
  for (std::size_t i = 0; left > 0; i = (i + 1) % order.size()) {
    if (files[order[i]].weight > 0) {
      ++out[order[i]];
      --left;
    }
  }
  return out;
}

} // namespace

Result<std::vector<std::vector<std::int32_t>>>
calibration_samples(const Checkpoint& checkpoint, const std::vector<CalibrationFile>& files,
                    std::int64_t samples, std::int64_t length, std::int64_t seed) {
  if (!checkpoint.tokenizer)
    return Error{"unsupported",
                 "The calibration text cannot be tokenized: " +
                     (checkpoint.tokenizer_problem.empty() ? "the checkpoint has no tokenizer"
                                                           : checkpoint.tokenizer_problem),
                 checkpoint.path.string()};
  if (files.empty())
    return Error{"bad-argument", "There is no calibration text", {}};
  if (samples < 1 || length < 2)
    return Error{"bad-argument",
                 "Calibration needs at least one sample of at least two tokens, not " +
                     std::to_string(samples) + " of " + std::to_string(length),
                 {}};
  double total = 0;
  for (const auto& file : files) {
    if (!(file.weight >= 0) || !std::isfinite(file.weight))
      return Error{"bad-argument", "The weight of a calibration file must be 0 or larger",
                   file.path};
    total += file.weight;
  }
  if (!(total > 0) || !std::isfinite(total))
    return Error{"bad-argument", "All calibration files have the weight 0", {}};

  const Tokenizer& tokenizer = *checkpoint.tokenizer;
  const auto counts = shares(files, samples);
  std::mt19937_64 random{std::uint64_t(seed)};
  std::vector<std::vector<std::int32_t>> out;
  for (std::size_t f = 0; f < files.size(); ++f) {
    if (counts[f] == 0)
      continue;
    TRY_ASSIGN(const auto ids, read_tokens(tokenizer, files[f].path));
    const auto windows = std::int64_t(ids.size()) / length;
    if (windows < counts[f])
      return Error{"bad-argument",
                   "The calibration text has " + std::to_string(ids.size()) +
                       " tokens: " + std::to_string(windows) + " windows of " +
                       std::to_string(length) + ", but " + std::to_string(counts[f]) +
                       " are wanted. Ask for fewer or shorter samples, or give more text",
                   files[f].path};
    std::vector<std::int64_t> order(static_cast<std::size_t>(windows));
    std::iota(order.begin(), order.end(), std::int64_t(0));
    for (std::int64_t i = 0; i < counts[f]; ++i) { // the first `counts` of a shuffle
      const auto j = i + std::int64_t(below(random, std::uint64_t(windows - i)));
      std::swap(order[std::size_t(i)], order[std::size_t(j)]);
      const auto begin = ids.begin() + order[std::size_t(i)] * length;
      out.emplace_back(begin, begin + length);
      if (tokenizer.adds_bos() && tokenizer.bos() >= 0)
        out.back()[0] = tokenizer.bos();
    }
  }
  for (std::size_t i = out.size(); i > 1; --i) // mix the files
    std::swap(out[i - 1], out[std::size_t(below(random, i))]);
  return out;
}

} // namespace bitlathe
