// SPDX-License-Identifier: GPL-3.0-or-later
// Verbs of bitlathe-cli. A verb is one file in app/cli/verbs/ and one word in
// app/cli/CMakeLists.txt: it turns an invocation into one JSON document, and shows that document to
// people when --json was not given.
#pragma once

#include "core/base/json.h"
#include "core/model/checkpoint.h"
#include "kernels/compute/compute.h"

#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

struct VerbOption {
  std::string_view name;  ///< "scheme", or "o" for the one-letter -o
  std::string_view value; ///< what it takes ("ID"), empty for a switch
  std::string_view summary;
  bool list = false;    ///< may be repeated, and may take several values after it
  bool not_yet = false; ///< known, but exits with 2: "not available yet"
};

/// A command line that fits its verb, and what every verb needs.
struct Invocation {
  explicit Invocation(Feedback& sink) : feedback(sink) {}

  std::vector<std::string> arguments; ///< positional
  std::map<std::string, std::vector<std::string>, std::less<>> options;
  Feedback& feedback;

  bool has(std::string_view option) const { return options.find(option) != options.end(); }
  std::string text(std::string_view option, std::string otherwise = {}) const;
  std::vector<std::string> list(std::string_view option) const;
  /// Error "usage" when the text is no number or below `low`.
  Result<std::int64_t> integer(std::string_view option, std::int64_t otherwise,
                               std::int64_t low) const;
  Result<double> number(std::string_view option, double otherwise, double low) const;
  /// The backend of --backend. Made once.
  Result<Compute*> compute();
  /// What went another way than asked: no device, a lost device, work done on the CPU instead.
  std::vector<std::string> backend_notes() const;

 private:
  std::string fallback_note_;
  std::unique_ptr<Compute> compute_;
};

struct Verb {
  std::string_view id, arguments, summary;
  int min_arguments = 1, max_arguments = 1;
  std::span<const VerbOption> options;
  Result<OrderedJson> (*run)(Invocation& invocation);
  void (*show)(const OrderedJson& document, std::ostream& out);
};
std::span<const Verb* const> all_verbs();

/// An error that ends with exit code 2.
Error usage_error(std::string message);

/// Opens MODEL.
Result<std::shared_ptr<const Checkpoint>> open_model(const std::string& path);
/// The token ids of --ids FILE; nullopt when the option is not given.
Result<std::optional<std::vector<std::int32_t>>> given_ids(const Invocation& invocation);
Result<std::string> read_text_file(const std::string& path);

/// "4.0 MiB", "1.42 k" and so on, for show functions.
std::string show_bytes(std::uint64_t bytes);
std::string show_number(double value, int digits = 4);
/// Left-aligned text columns, numbers right-aligned by the caller's padding.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

} // namespace bitlathe
