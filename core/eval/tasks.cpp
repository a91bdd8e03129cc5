// SPDX-License-Identifier: Apache-2.0
#include "core/eval/tasks.h"

#include "core/io/files.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <cmath>

namespace bitlathe {

Result<std::vector<TaskItem>> read_tasks(const std::string& path) {
  TRY_ASSIGN(const std::string content, read_file(path, std::uint64_t(1) << 30));
  std::vector<TaskItem> out;
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
    TaskItem item;
    TRY_ASSIGN(item.prompt, json_string(json, "prompt", where));
    TRY_ASSIGN(item.answer, json_string(json, "answer", where));
    TRY_ASSIGN(item.task, json_string_or(json, "task", "", where));
    if (item.answer.empty())
      return Error{"bad-file", "The answer is empty", where};
    out.push_back(std::move(item));
  }
  if (out.empty())
    return Error{"bad-file", "There are no tasks in the file", path};
  return out;
}

namespace {

bool begins_with_answer(std::string_view text, std::string_view answer) {
  const auto first = text.find_first_not_of(" \t\r\n");
  text = first == std::string_view::npos ? std::string_view() : text.substr(first);
  if (text.substr(0, answer.size()) != answer)
    return false;
  const char next = text.size() > answer.size() ? text[answer.size()] : ' ';
  return !((next >= '0' && next <= '9') || (next >= 'a' && next <= 'z') ||
           (next >= 'A' && next <= 'Z'));
}

} // namespace

Result<std::vector<bool>> exact_match(Engine& engine, const std::vector<TaskItem>& items,
                                      Feedback& feedback) {
  const Tokenizer* tokenizer = engine.checkpoint().tokenizer.get();
  if (!tokenizer)
    return Error{"unsupported", "Tasks need a tokenizer: " + engine.checkpoint().tokenizer_problem,
                 engine.checkpoint().path.string()};
  feedback.done = 0;
  feedback.total = items.size();
  std::vector<bool> out;
  for (const TaskItem& item : items) {
    GenerateOptions options;
    options.prompt = tokenizer->encode(item.prompt, {true, false});
    // Room for another spelling of the answer in tokens and for what follows it.
    options.max_new = std::int64_t(tokenizer->encode(item.answer, {false, false}).size()) + 4;
    TRY_ASSIGN(const GenerateResult result, generate(engine, options, feedback));
    out.push_back(begins_with_answer(tokenizer->decode(result.tokens), item.answer));
    feedback.advance(1);
  }
  return out;
}

Interval wilson_interval(std::int64_t right, std::int64_t n) {
  if (n <= 0)
    return {0, 1};
  const double z = 1.959963984540054, count = double(n), p = double(right) / count;
  const double middle = p + z * z / (2 * count), scale = 1 + z * z / count;
  const double spread = z * std::sqrt(p * (1 - p) / count + z * z / (4 * count * count));
  return {std::max(0.0, (middle - spread) / scale), std::min(1.0, (middle + spread) / scale)};
}

double paired_p(const std::vector<bool>& a, const std::vector<bool>& b) {
  std::int64_t only_a = 0, only_b = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    only_a += a[i] && !b[i];
    only_b += b[i] && !a[i];
  }
  const std::int64_t n = only_a + only_b, fewer = std::min(only_a, only_b);
  double sum = 0; // of binomial(n, k) / 2^n for k up to the smaller count
  for (std::int64_t k = 0; k <= fewer; ++k)
    sum += std::exp(std::lgamma(double(n) + 1) - std::lgamma(double(k) + 1) -
                    std::lgamma(double(n - k) + 1) - double(n) * std::log(2.0));
  return std::min(1.0, 2 * sum);
}

} // namespace bitlathe
