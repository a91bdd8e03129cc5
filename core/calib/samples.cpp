// SPDX-License-Identifier: Apache-2.0
// Calibration text into windows of tokens.
#include "core/calib/sets.h"
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

/// Different tokens.
class Vocabulary {
 public:
  void add(const std::vector<std::int32_t>& ids) {
    for (const std::int32_t id : ids) {
      if (std::size_t(id) >= seen_.size())
        seen_.resize(std::size_t(id) + 1);
      size_ += seen_[std::size_t(id)] ? 0 : 1;
      seen_[std::size_t(id)] = true;
    }
  }
  std::int64_t size() const { return size_; }

 private:
  std::vector<bool> seen_;
  std::int64_t size_ = 0;
};

Result<void> check(const std::vector<CalibrationFile>& files, std::int64_t samples,
                   std::int64_t length) {
  if (files.empty())
    return Error{"bad-argument", "There is no calibration text", {}};
  if (samples < 1 || length < 2)
    return Error{"bad-argument",
                 "Calibration needs at least one sample of at least two tokens, not " +
                     std::to_string(samples) + " of " + std::to_string(length),
                 {}};
  constexpr std::int64_t most = std::int64_t(1) << 30; // tokens of the largest file there may be
  if (samples > most || length > most)
    return Error{"bad-argument",
                 std::to_string(samples) + " samples of " + std::to_string(length) +
                     " tokens are more than any text that can be read",
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
  return {};
}

Error too_short(const CalibrationFile& file, std::int64_t tokens, std::int64_t length,
                std::int64_t wanted) {
  return {"bad-argument",
          (file.split.empty() ? "The calibration text has "
                              : "The part \"" + file.split + "\" of the text has ") +
              std::to_string(tokens) + " tokens: " + std::to_string(tokens / length) +
              " windows of " + std::to_string(length) + ", but " + std::to_string(wanted) +
              " are wanted, for which it takes " + std::to_string(wanted * length) +
              " tokens. Ask for fewer or shorter samples, or give more text",
          file.path};
}

/// Says where a set goes into what is kept for judging, or meets one of its files again.
void note_parts(const CalibrationSource& source, CalibrationSet& set) {
  if (source.split == "evaluation" || source.split == "selection")
    set.notes.push_back(source.path + ": calibrates on the part \"" + source.split +
                        "\", which is there to " +
                        (source.split == "evaluation" ? "judge results" : "choose among them"));
  for (const CalibrationSource& before : set.record.sources)
    if (before.content == source.content &&
        (before.split.empty() || source.split.empty() || before.split == source.split ||
         before.split_seed != source.split_seed))
      set.notes.push_back(source.path + " has the content of " + before.path +
                          ", which is in the set already: windows may be drawn twice");
}

} // namespace

Result<CalibrationSet> draw_calibration(const Checkpoint& checkpoint,
                                        const std::vector<CalibrationFile>& files,
                                        std::int64_t samples, std::int64_t length,
                                        std::int64_t seed) {
  if (!checkpoint.tokenizer)
    return Error{"unsupported",
                 "The calibration text cannot be tokenized: " +
                     (checkpoint.tokenizer_problem.empty() ? "the checkpoint has no tokenizer"
                                                           : checkpoint.tokenizer_problem),
                 checkpoint.path.string()};
  TRY(check(files, samples, length));
  const Tokenizer& tokenizer = *checkpoint.tokenizer;
  const auto counts = shares(files, samples);
  std::mt19937_64 random{std::uint64_t(seed)};
  CalibrationSet out;
  out.vocabulary = tokenizer.vocab_size();
  Vocabulary used_of_all, available_of_all;
  for (std::size_t f = 0; f < files.size(); ++f) {
    Coverage& coverage = out.files.emplace_back();
    coverage.path = files[f].path;
    if (counts[f] == 0) {
      out.notes.push_back(files[f].path + ": its weight gives it none of the " +
                          std::to_string(samples) + " windows; it is not used");
      continue;
    }
    TRY_ASSIGN(const SetTokens set, read_set(checkpoint, files[f]));
    note_parts(set.source, out);
    out.notes.insert(out.notes.end(), set.notes.begin(), set.notes.end());
    const auto& ids = set.ids;
    const auto windows = std::int64_t(ids.size()) / length;
    if (windows < counts[f])
      return too_short(files[f], std::int64_t(ids.size()), length, counts[f]);
    Vocabulary used, available;
    available.add(ids);
    available_of_all.add(ids);
    std::vector<std::int64_t> order(static_cast<std::size_t>(windows));
    std::iota(order.begin(), order.end(), std::int64_t(0));
    for (std::int64_t i = 0; i < counts[f]; ++i) { // the first `counts` of a shuffle
      const auto j = i + std::int64_t(below(random, std::uint64_t(windows - i)));
      std::swap(order[std::size_t(i)], order[std::size_t(j)]);
      const auto begin = ids.begin() + order[std::size_t(i)] * length;
      out.samples.emplace_back(begin, begin + length);
      if (tokenizer.adds_bos() && tokenizer.bos() >= 0)
        out.samples.back()[0] = tokenizer.bos();
      used.add(out.samples.back());
      used_of_all.add(out.samples.back());
    }
    coverage.documents = set.documents;
    coverage.tokens_available = std::int64_t(ids.size());
    coverage.windows = counts[f];
    coverage.tokens_used = counts[f] * length;
    coverage.vocabulary_seen = used.size();
    coverage.vocabulary_available = available.size();
    out.coverage.documents += coverage.documents;
    out.coverage.tokens_available += coverage.tokens_available;
    out.coverage.windows += coverage.windows;
    out.coverage.tokens_used += coverage.tokens_used;
    out.record.sources.push_back(set.source);
  }
  out.coverage.vocabulary_seen = used_of_all.size();
  out.coverage.vocabulary_available = available_of_all.size();
  for (std::size_t i = out.samples.size(); i > 1; --i) // mix the files
    std::swap(out.samples[i - 1], out.samples[std::size_t(below(random, i))]);
  out.record.fingerprints = fingerprints(out.samples);
  out.record.windows = samples;
  return out;
}

Result<std::vector<std::vector<std::int32_t>>>
calibration_samples(const Checkpoint& checkpoint, const std::vector<CalibrationFile>& files,
                    std::int64_t samples, std::int64_t length, std::int64_t seed) {
  TRY_ASSIGN(CalibrationSet set, draw_calibration(checkpoint, files, samples, length, seed));
  return std::move(set.samples);
}

OrderedJson coverage_to_json(const CalibrationSet& set) {
  const auto entry = [&](const Coverage& c) {
    OrderedJson json;
    if (!c.path.empty())
      json["path"] = c.path;
    json["documents"] = c.documents;
    json["windows"] = c.windows;
    json["tokens_used"] = c.tokens_used;
    json["tokens_available"] = c.tokens_available;
    json["vocabulary_seen"] = c.vocabulary_seen;
    json["vocabulary_available"] = c.vocabulary_available;
    json["vocabulary_share"] =
        set.vocabulary > 0 ? double(c.vocabulary_seen) / double(set.vocabulary) : 0.0;
    return json;
  };
  OrderedJson json = entry(set.coverage);
  json["vocabulary"] = set.vocabulary;
  json["files"] = OrderedJson::array();
  for (const Coverage& file : set.files)
    json["files"].push_back(entry(file));
  for (std::size_t i = 0, source = 0; i < set.files.size(); ++i) {
    if (set.files[i].windows == 0)
      continue;
    if (const auto& used = set.record.sources[source++]; !used.split.empty()) {
      json["files"][i]["split"] = used.split;
      json["files"][i]["split_seed"] = used.split_seed;
    }
  }
  return json;
}

} // namespace bitlathe
