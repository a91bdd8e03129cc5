// SPDX-License-Identifier: Apache-2.0
// Files of a calibration set into documents, parts and tokens.
#include "core/calib/sets.h"

#include "core/chat/chat.h"
#include "core/io/files.h"
#include "core/text/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

namespace bitlathe {

namespace {

struct Document {
  std::string text;  ///< of a chat: the messages as JSON, which tell equal ones
  std::string place; ///< for errors: file and line
  bool chat = false;
  OrderedJson row = {}; ///< of a chat: the whole line
};

/// What a file that is no text seems to be; empty: text.
std::string why_not_text(std::string_view content) {
  const auto starts = [&](std::initializer_list<int> bytes) {
    std::size_t i = 0;
    for (const int byte : bytes)
      if (i >= content.size() || static_cast<unsigned char>(content[i++]) != byte)
        return false;
    return true;
  };
  if (starts({0x1f, 0x8b}) || starts({0x28, 0xb5, 0x2f, 0xfd}) || starts({'P', 'K', 3, 4}))
    return "The file is compressed; unpack it first";
  if (starts({'P', 'A', 'R', '1'}))
    return "The file is in the Parquet format; save it as .jsonl first";
  if (starts({0xff, 0xfe}) || starts({0xfe, 0xff}))
    return "The file is UTF-16; save it as UTF-8 first";
  const auto zero = content.find('\0');
  if (zero != std::string_view::npos)
    return "The file is not text: its byte " + std::to_string(zero + 1) + " is zero";
  return {};
}

/// Bytes that begin no UTF-8 sequence or break one off.
std::size_t broken_bytes(std::string_view text) {
  std::size_t broken = 0;
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t more = c < 0x80   ? 0
                             : c < 0xc2 ? 9
                             : c < 0xe0 ? 1
                             : c < 0xf0 ? 2
                             : c < 0xf5 ? 3
                                        : 9;
    std::size_t found = 0;
    while (more < 9 && found < more && i + 1 + found < text.size() &&
           (static_cast<unsigned char>(text[i + 1 + found]) & 0xc0) == 0x80)
      ++found;
    if (found == more) {
      i += 1 + more;
    } else {
      ++broken;
      ++i;
    }
  }
  return broken;
}

bool is_lines(const CalibrationFile& file) {
  return file.path.ends_with(".jsonl") || file.path.ends_with(".ndjson") || !file.field.empty();
}

/// The value of the field that holds the text: the one that was named, or the first there is of
/// "text", "prompt" and "messages".
Result<const OrderedJson*> field_of(const OrderedJson& row, const std::string& field,
                                    const std::string& place) {
  if (!row.is_object())
    return Error{"bad-file", std::string("A line must be an object, not ") + row.type_name(),
                 place};
  std::string keys;
  for (const auto& [key, value] : row.items())
    keys += (keys.empty() ? "\"" : ", \"") + key + "\"";
  const OrderedJson* empty = nullptr;
  const std::vector<std::string> wanted =
      field.empty() ? std::vector<std::string>{"text", "prompt", "messages"} : std::vector{field};
  for (const std::string& name : wanted) {
    const auto it = row.find(name);
    if (it == row.end() || it->is_null())
      continue;
    if (!it->is_string() && !it->is_array())
      return Error{"bad-file",
                   "\"" + name + "\" must be a text or a list of messages, not " + it->type_name(),
                   place};
    if (it->is_array() ? !it->empty() : !it->get_ref<const std::string&>().empty())
      return &*it;
    empty = &*it;
  }
  if (empty)
    return empty;
  return Error{"bad-file",
               (field.empty() ? "There is neither \"text\" nor \"prompt\" nor \"messages\""
                              : "There is no \"" + field + "\"") +
                   std::string("; the line has ") + (keys.empty() ? "nothing" : keys) +
                   (field.empty() ? ". Name the field to take" : ""),
               place};
}

Result<std::vector<Document>> read_lines(std::string_view content, const CalibrationFile& file,
                                         std::vector<std::string>& notes) {
  std::vector<Document> out;
  std::size_t number = 0, skipped = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    const auto line = content.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
      continue;
    Document document;
    document.place = file.path + " line " + std::to_string(number);
    TRY(parse_json(line, document.place)); // its complaints: depth, duplicate keys, UTF-8
    OrderedJson row = OrderedJson::parse(line, nullptr, false);
    TRY_ASSIGN(const OrderedJson* value, field_of(row, file.field, document.place));
    if (value->empty() || (value->is_string() && value->get_ref<const std::string&>().empty())) {
      ++skipped;
      continue;
    }
    document.chat = value->is_array();
    document.text = document.chat ? value->dump() : value->get<std::string>();
    if (document.chat) {
      OrderedJson messages = *value;
      for (const OrderedJson& message : messages)
        if (!message.is_object() || !message.contains("role"))
          return Error{"bad-file", "A message must be an object with \"role\" and \"content\"",
                       document.place};
      OrderedJson kept{{"messages", std::move(messages)}};
      for (const char* key : {"tools", "documents", "chat_template_kwargs"})
        if (const auto it = row.find(key); it != row.end() && it->is_structured())
          kept[key] = *it;
      document.row = std::move(kept);
    }
    out.push_back(std::move(document));
  }
  if (skipped > 0)
    notes.push_back(file.path + ": " + std::to_string(skipped) +
                    " lines have no text and are skipped");
  if (out.empty())
    return Error{"bad-file",
                 "The file has no document: none of its " + std::to_string(number) +
                     " lines holds text",
                 file.path};
  return out;
}

/// Where a stretch of about `size` bytes that begins at `begin` ends: behind a line, else behind a
/// word, else between characters.
std::size_t stretch_end(std::string_view text, std::size_t begin, std::size_t size) {
  if (text.size() - begin <= size)
    return text.size();
  const std::size_t from = begin + size, to = std::min(text.size(), from + size);
  for (const char mark : {'\n', ' '})
    if (const auto at = text.substr(from, to - from).find(mark); at != std::string_view::npos)
      return from + at + 1;
  std::size_t end = to;
  while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
    ++end;
  return end;
}

std::vector<Document> stretches(std::string_view content, const std::string& path) {
  const std::size_t size = std::clamp<std::size_t>(content.size() / 60, 1024, 65536);
  std::vector<Document> out;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = stretch_end(content, begin, size);
    out.push_back({std::string(content.substr(begin, end - begin)), path});
    begin = end;
  }
  return out;
}

/// Which of the three parts every document goes to.
std::vector<std::size_t> deal(const std::vector<Document>& documents, std::int64_t seed) {
  std::map<std::pair<std::string, std::string_view>, std::vector<std::size_t>> order;
  std::uint64_t total = 0, done = 0;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::string_view text = documents[i].text;
    order[{content_hash(std::to_string(seed) + ":" + std::string(text)), text}].push_back(i);
    total += text.size();
  }
  std::vector<std::size_t> parts(documents.size());
  for (const auto& [key, equal] : order) {
    const std::uint64_t size = key.second.size() * equal.size();
    const double middle = (double(done) + double(size) / 2) / double(total);
    for (const std::size_t i : equal)
      parts[i] = middle < 0.6 ? 0 : middle < 0.8 ? 1 : 2;
    done += size;
  }
  return parts;
}

Result<std::vector<Document>> take_part(std::vector<Document> documents,
                                        const CalibrationFile& file) {
  const auto wanted = std::size_t(std::find(split_names.begin(), split_names.end(), file.split) -
                                  split_names.begin());
  const auto parts = deal(documents, file.split_seed);
  std::vector<Document> out;
  bool joins = false; // stretches of a text that follow one another stay one
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const bool take = parts[i] == wanted;
    if (take && joins && !is_lines(file))
      out.back().text += documents[i].text;
    else if (take)
      out.push_back(std::move(documents[i]));
    joins = take;
  }
  if (out.empty())
    return Error{"bad-argument",
                 "The part \"" + file.split + "\" of this file is empty: it has only " +
                     std::to_string(documents.size()) +
                     (is_lines(file) ? " documents" : " stretches of a kibibyte"),
                 file.path};
  return out;
}

/// Documents into tokens; templates are looked for once.
class Encoder {
 public:
  explicit Encoder(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  Result<std::vector<std::int32_t>> encode(const Document& document) {
    if (!document.chat)
      return checkpoint_.tokenizer->encode(document.text, {true, false});
    ChatOptions options;
    options.add_generation_prompt = false;
    const OrderedJson& row = document.row;
    if (row.contains("tools") && !row["tools"].empty())
      options.tools = row["tools"];
    if (row.contains("documents"))
      options.documents = row["documents"];
    if (row.contains("chat_template_kwargs") && row["chat_template_kwargs"].is_object())
      options.variables = row["chat_template_kwargs"];
    options.special_tokens = special_tokens();
    auto& found = templates_[options.tools.is_null() ? 0 : 1];
    if (!found) {
      auto looked = find_chat_template(checkpoint_, !options.tools.is_null());
      if (!looked)
        return Error{looked.error().code,
                     "Chats need the model's chat template: " + looked.error().message,
                     document.place};
      found = std::move(*looked);
    }
    auto text = render_chat(found->text, row["messages"], options, found->where);
    if (!text)
      return Error{text.error().code, "The chat cannot be rendered: " + text.error().text(),
                   document.place};
    return checkpoint_.tokenizer->encode(*text, {false, true}); // the template writes BOS itself
  }

 private:
  const std::map<std::string, std::string>& special_tokens() {
    if (!special_)
      special_ = chat_special_tokens(checkpoint_);
    return *special_;
  }

  const Checkpoint& checkpoint_;
  std::array<std::optional<ChatTemplate>, 2> templates_; ///< without tools, with tools
  std::optional<std::map<std::string, std::string>> special_;
};

} // namespace

bool is_split(std::string_view name) {
  return std::find(split_names.begin(), split_names.end(), name) != split_names.end();
}

Result<SetTokens> read_set(const Checkpoint& checkpoint, const CalibrationFile& file) {
  if (!checkpoint.tokenizer)
    return Error{"unsupported",
                 "The calibration text cannot be tokenized: " +
                     (checkpoint.tokenizer_problem.empty() ? "the checkpoint has no tokenizer"
                                                           : checkpoint.tokenizer_problem),
                 checkpoint.path.string()};
  if (!file.split.empty() && !is_split(file.split))
    return Error{"bad-argument",
                 "A file has the parts calibration, selection and evaluation, not \"" + file.split +
                     "\"",
                 file.path};
  constexpr std::uint64_t largest = std::uint64_t(1) << 30;
  TRY_ASSIGN(const std::string bytes, read_file(file.path, largest));
  SetTokens out;
  out.source = {file.path, content_hash(bytes), file.split,
                file.split.empty() ? 0 : file.split_seed};
  if (bytes.find_first_not_of(" \t\r\n") == std::string::npos)
    return Error{"bad-file",
                 bytes.empty() ? "The file is empty" : "The file holds nothing but white space",
                 file.path};
  if (std::string reason = why_not_text(bytes); !reason.empty())
    return Error{"bad-file", std::move(reason), file.path};
  if (const std::size_t broken = broken_bytes(bytes); broken > 0) {
    if (broken > bytes.size() / 10)
      return Error{"bad-file",
                   "The file is not UTF-8 text: " + std::to_string(broken) + " of its " +
                       std::to_string(bytes.size()) + " bytes make no character",
                   file.path};
    out.notes.push_back(file.path + ": " + std::to_string(broken) +
                        " bytes are not UTF-8 and are read as replacement characters");
  }
  std::string_view content = bytes;
  std::vector<Document> documents;
  if (is_lines(file)) {
    if (content.starts_with("\xef\xbb\xbf"))
      content.remove_prefix(3);
    TRY_ASSIGN(documents, read_lines(content, file, out.notes));
  } else if (file.split.empty()) {
    documents.push_back({bytes, file.path});
  } else {
    documents = stretches(content, file.path);
  }
  if (!file.split.empty()) {
    TRY_ASSIGN(documents, take_part(std::move(documents), file));
  }
  const Tokenizer& tokenizer = *checkpoint.tokenizer;
  const bool ends = !tokenizer.adds_bos() && !tokenizer.adds_eos() && tokenizer.eos() >= 0;
  Encoder encoder(checkpoint);
  for (const Document& document : documents) {
    TRY_ASSIGN(const auto ids, encoder.encode(document));
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    // Something must mark where a document ends; a chat's template does it itself.
    if (ends && !document.chat && (is_lines(file) || documents.size() > 1))
      out.ids.push_back(tokenizer.eos());
  }
  out.documents = std::int64_t(documents.size());
  return out;
}

Result<CalibrationFile> parse_calibration_file(const std::string& text) {
  CalibrationFile file;
  file.path = text;
  std::error_code ignored;
  std::set<std::string> seen;
  while (!fs::exists(file.path, ignored)) {
    const auto colon = file.path.rfind(':'), equals = file.path.find('=', colon);
    if (colon == std::string::npos || colon == 0 || equals == std::string::npos)
      break;
    const std::string key = file.path.substr(colon + 1, equals - colon - 1);
    const std::string value = file.path.substr(equals + 1);
    const Error wrong{"bad-argument",
                      "\"" + key + "=" + value +
                          "\" is not understood: a file takes "
                          ":field=NAME, :weight=X (above 0), :split=calibration, selection or "
                          "evaluation, and :seed=N",
                      text};
    char* end = nullptr;
    if (value.empty() || !seen.insert(key).second)
      return wrong;
    if (key == "field") {
      file.field = value;
    } else if (key == "weight") {
      file.weight = std::strtod(value.c_str(), &end);
      if (*end || !(file.weight > 0) || !std::isfinite(file.weight))
        return wrong;
    } else if (key == "split") {
      file.split = value;
      if (!is_split(value))
        return wrong;
    } else if (key == "seed") {
      file.split_seed = std::strtoll(value.c_str(), &end, 10);
      if (*end)
        return wrong;
    } else {
      return wrong;
    }
    file.path.resize(colon);
  }
  if (seen.count("seed") && file.split.empty())
    return Error{"bad-argument", "\":seed=\" chooses the parts of a file and goes with \":split=\"",
                 text};
  return file;
}

} // namespace bitlathe
