// SPDX-License-Identifier: Apache-2.0
#include "core/judge/prompts.h"

#include "core/io/files.h"
#include "core/io/utf8.h"

#include <algorithm>
#include <set>

namespace bitlathe {

namespace {

constexpr std::uint64_t largest_file = 16 << 20;
constexpr std::size_t most_prompts = 10000;

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z')
      c = char(c + 32);
  return text;
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos)
    return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string string_of(const Json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto it = object.find(key);
    if (it == object.end())
      continue;
    if (it->is_string())
      return it->get<std::string>();
    if (it->is_number_integer())
      return it->dump();
  }
  return {};
}

std::string first_of_user(const Json& messages) {
  for (const Json& message : messages)
    if (message.is_object() && string_of(message, {"role", "from"}) != "system")
      return string_of(message, {"content", "value"});
  return {};
}

std::string text_of(const Json& object) {
  std::string out;
  if (const auto it = object.find("prompt"); it != object.end() && it->is_array())
    out = first_of_user(*it); // conversational sets name their messages so
  if (out.empty())
    out = string_of(object, {"prompt", "text", "question", "instruction"});
  if (const auto it = object.find("input"); !out.empty() && !object.contains("prompt") &&
                                            it != object.end() && it->is_string() &&
                                            !it->get_ref<const std::string&>().empty())
    out += "\n\n" + it->get<std::string>(); // an instruction with what it is about
  if (const auto it = object.find("turns"); out.empty() && it != object.end() && it->is_array() &&
                                            !it->empty() && it->front().is_string())
    out = it->front().get<std::string>();
  for (const char* key : {"messages", "conversations"})
    if (const auto it = object.find(key); out.empty() && it != object.end() && it->is_array())
      out = first_of_user(*it);
  return out;
}

/// What stands for one prompt in JSON; an empty text when there is none.
Prompt prompt_of(const Json& json) {
  if (json.is_string())
    return {{}, json.get<std::string>(), {}};
  if (!json.is_object())
    return {};
  return {string_of(json, {"id", "question_id", "name"}), text_of(json),
          string_of(json, {"category", "kind"})};
}

class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  Result<PromptSet> read(std::string_view content) {
    if (content.substr(0, 3) == "\xef\xbb\xbf")
      content.remove_prefix(3);
    if (content.find('\0') != std::string_view::npos)
      return bad("This is no text: it has zero bytes");
    if (!is_utf8(content))
      return bad("The text is not UTF-8; save it as UTF-8 and load it again");
    const std::string name = lower(file_);
    const auto ends = [&](std::string_view with) {
      return name.size() >= with.size() && name.substr(name.size() - with.size()) == with;
    };
    if (ends(".jsonl") || ends(".ndjson"))
      TRY(read_lines(content));
    else if (ends(".json"))
      TRY(read_list(content));
    else
      TRY(read_text(content));
    if (out_.prompts.empty())
      return bad("There is no prompt in this file");
    make_ids_differ();
    const auto slash = file_.find_last_of('/');
    out_.name = slash == std::string::npos ? file_ : file_.substr(slash + 1);
    if (const auto dot = out_.name.find_last_of('.'); dot != std::string::npos && dot > 0)
      out_.name.resize(dot);
    return std::move(out_);
  }

 private:
  Error bad(const std::string& why) const { return {"bad-file", why, file_}; }

  Result<void> add(Prompt prompt, const std::string& place) {
    if (trimmed(prompt.text).empty())
      return bad(place + ": no \"prompt\" with text in it");
    if (out_.prompts.size() == most_prompts)
      return bad("More than " + std::to_string(most_prompts) +
                 " prompts; sets to judge by hand have 20 to 50");
    out_.prompts.push_back(std::move(prompt));
    return {};
  }

  Result<void> read_lines(std::string_view content) {
    for (std::size_t at = 0, number = 1; at < content.size(); ++number) {
      const auto end = std::min(content.find('\n', at), content.size());
      const std::string_view line = trimmed(content.substr(at, end - at));
      at = end + 1;
      if (line.empty())
        continue;
      const std::string place = "Line " + std::to_string(number);
      const auto json = parse_json(line, file_);
      if (!json)
        return bad(place + " is not JSON: " + json.error().message);
      TRY(add(prompt_of(*json), place));
    }
    return {};
  }

  Result<void> read_list(std::string_view content) {
    TRY_ASSIGN(const Json json, parse_json(content, file_));
    const Json* list = &json;
    if (const auto it = json.is_object() ? json.find("prompts") : json.end(); it != json.end())
      list = &*it;
    if (!list->is_array())
      return bad("There is no list of prompts in this file: a list, or an object with \"prompts\"");
    for (const Json& entry : *list)
      TRY(add(prompt_of(entry), "Prompt " + std::to_string(out_.prompts.size() + 1)));
    return {};
  }

  Result<void> read_text(std::string_view content) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < content.size();) {
      const auto end = std::min(content.find('\n', at), content.size());
      std::string_view line = content.substr(at, end - at);
      if (!line.empty() && line.back() == '\r')
        line.remove_suffix(1);
      lines.emplace_back(line);
      at = end + 1;
    }
    const auto blank = [](const std::string& line) { return trimmed(line).empty(); };
    const auto first = std::find_if_not(lines.begin(), lines.end(), blank);
    const auto last = std::find_if_not(lines.rbegin(), lines.rend(), blank).base();
    if (first == lines.end())
      return {};
    const bool blocks = std::any_of(first, last, blank);
    std::string text;
    const auto flush = [&]() -> Result<void> {
      if (!text.empty())
        TRY(add({{}, std::exchange(text, {}), {}}, "Text"));
      return {};
    };
    for (auto line = first; line != last; ++line) {
      if (blank(*line)) {
        TRY(flush());
        continue;
      }
      text += (text.empty() ? "" : "\n") + *line;
      if (!blocks)
        TRY(flush());
    }
    TRY(flush());
    if (out_.prompts.size() > 1)
      out_.notes.push_back(blocks ? "Empty lines separate the prompts of this file"
                                  : "Every line of this file is a prompt");
    return {};
  }

  void make_ids_differ() {
    std::set<std::string> taken;
    for (const Prompt& prompt : out_.prompts)
      taken.insert(prompt.id);
    std::set<std::string> given;
    std::size_t number = 0;
    for (Prompt& prompt : out_.prompts) {
      ++number;
      if (!prompt.id.empty() && given.insert(prompt.id).second)
        continue;
      const std::string base = prompt.id.empty() ? std::string() : prompt.id + "-";
      std::size_t n = prompt.id.empty() ? number : 2;
      while (taken.count(base + std::to_string(n)) > 0)
        ++n;
      prompt.id = base + std::to_string(n);
      taken.insert(prompt.id);
      given.insert(prompt.id);
    }
  }

  const std::string file_;
  PromptSet out_;
};

} // namespace

Result<PromptSet> parse_prompts(std::string_view content, const std::string& file) {
  return Reader(file).read(content);
}

Result<PromptSet> read_prompts(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string content, read_file(path, largest_file));
  return parse_prompts(content, path.string());
}

} // namespace bitlathe
