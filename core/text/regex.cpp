// SPDX-License-Identifier: Apache-2.0
#include "core/text/regex.h"

#include "core/text/regex_syntax.h"
#include "core/text/unicode.h"
#include "core/text/unicode_newer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace bitlathe::text {

namespace {

template <auto F> struct Free {
  template <class T> void operator()(T* p) const { F(p); }
};
using Code = std::unique_ptr<pcre2_code, Free<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>>;

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

/// What matching needs besides the pattern; not to be shared between threads.
struct Workspace {
  MatchData data{pcre2_match_data_create(1, nullptr)};
  MatchContext context{pcre2_match_context_create(nullptr)};
  JitStack stack{pcre2_jit_stack_create(64 << 10, 16 << 20, nullptr)};

  Workspace() {
    if (context) {
      pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
      // A pattern that goes wild is given up at that place instead of hanging.
      pcre2_set_match_limit(context.get(), 50'000'000);
      pcre2_set_heap_limit(context.get(), 512 << 10); // KiB
    }
  }
};

} // namespace

struct Regex::Compiled {
  Code code;
};

Result<Regex> Regex::compile(const std::string& pattern, const std::string& where,
                             RegexFlavor flavor) {
  if (pattern.size() > 100'000)
    return Error{"unsupported", "A pattern of " + std::to_string(pattern.size()) + " bytes", where};
  TRY_ASSIGN(const std::string pcre, to_pcre(pattern, flavor, where));
  int error = 0;
  PCRE2_SIZE at = 0;
  // In Ruby syntax ^ and $ always mean line ends.
  const std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
                                (flavor == RegexFlavor::oniguruma ? PCRE2_MULTILINE : 0);
  Code code(pcre2_compile(bytes_of(pcre), pcre.size(), options, &error, &at, nullptr));
  if (!code) {
    unsigned char message[256] = {};
    pcre2_get_error_message(error, message, sizeof message);
    return Error{"unsupported",
                 "The pattern " + pattern +
                     " cannot be used: " + reinterpret_cast<const char*>(message),
                 where};
  }
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE); // where there is none, matching interprets
  Regex regex;
  regex.compiled_ = std::make_shared<Compiled>(Compiled{std::move(code)});
  return regex;
}

std::vector<Span> Regex::cut(std::string_view text) const {
  std::vector<Span> spans;
  if (text.empty())
    return spans;
  spans.reserve(text.size() / 4 + 4);
  std::string replaced;
  const std::string_view subject = with_stand_ins(text, replaced) ? replaced : text;
  thread_local Workspace work;
  if (!work.data || !work.context)
    return {{0, text.size(), false}};
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(work.data.get());
  std::size_t done = 0, from = 0;
  bool matched = false; // a match ends at `done`
  while (from <= subject.size()) {
    int result = pcre2_match(compiled_->code.get(), bytes_of(subject), subject.size(), from,
                             PCRE2_NO_UTF_CHECK, work.data.get(), work.context.get());
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
      result = pcre2_match(compiled_->code.get(), bytes_of(subject), subject.size(), from,
                           PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, work.data.get(), work.context.get());
    if (result < 0)
      break;
    const std::size_t begin = found[0], end = found[1];
    if (begin == end && matched && begin == done) {
      // No empty match right behind another match.
      if (from >= subject.size())
        break;
      from += char_bytes(subject[from]);
      continue;
    }
    if (begin > done)
      spans.push_back({done, begin, false});
    spans.push_back({begin, end, true});
    done = from = end;
    matched = true;
  }
  if (done < text.size())
    spans.push_back({done, text.size(), false});
  return spans;
}

std::vector<Span> cut_literal(std::string_view text, std::string_view literal) {
  std::vector<Span> spans;
  std::size_t end = 0;
  while (!literal.empty()) {
    const auto begin = text.find(literal, end);
    if (begin == std::string_view::npos)
      break;
    if (begin > end)
      spans.push_back({end, begin, false});
    end = begin + literal.size();
    spans.push_back({begin, end, true});
  }
  if (end < text.size())
    spans.push_back({end, text.size(), false});
  return spans;
}

} // namespace bitlathe::text
