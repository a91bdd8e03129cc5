// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/text/tokenizer.h"

#include <chrono>
#include <ostream>

namespace bitlathe {

namespace {

/// A model's tokenizer; a folder or file that holds nothing else will do.
Result<std::shared_ptr<const Tokenizer>> open_tokenizer(const std::string& path) {
  const auto model = open_model(path);
  if (model && (*model)->tokenizer)
    return (*model)->tokenizer;
  auto alone = Tokenizer::from_folder(path);
  if (alone)
    return alone;
  if (!model)
    return alone.error().code == "not-found" ? model.error() : alone.error();
  return Error{"unsupported", "The model has no usable tokenizer: " + (*model)->tokenizer_problem,
               (*model)->path.string()};
}

Result<OrderedJson> run(Invocation& invocation) {
  if (!invocation.has("text") && !invocation.has("prompt"))
    return usage_error("tokenize needs --text FILE or --prompt TEXT");
  TRY_ASSIGN(const auto tokenizer, open_tokenizer(invocation.arguments[0]));
  std::string text = invocation.text("prompt");
  if (invocation.has("text")) {
    TRY_ASSIGN(text, read_text_file(invocation.text("text")));
  }
  EncodeOptions encode;
  encode.add_special = !invocation.has("no-special");
  encode.parse_special = invocation.has("parse-special");
  OrderedJson json;
  const auto begin = std::chrono::steady_clock::now();
  const auto ids = tokenizer->encode(text, encode);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  json["ids"] = ids;
  json["seconds"] = seconds.count(); // of encoding alone
  if (const auto notes = tokenizer->notes(); !notes.empty())
    json["notes"] = notes;
  return json;
}

void show(const OrderedJson& json, std::ostream& out) { out << json["ids"].dump() << '\n'; }

constexpr VerbOption options[] = {
    {"text", "FILE", "Text to tokenize, the whole file."},
    {"prompt", "TEXT", "Text to tokenize."},
    {"no-special", "", "Do not add the special tokens that the tokenizer adds."},
    {"parse-special", "", "Recognise the text of special tokens in the input."},
};

} // namespace

extern const Verb verb_tokenize;
const Verb verb_tokenize{
    "tokenize", "MODEL --text FILE", "Token ids of a text.", 1, 1, options, run, show};

} // namespace bitlathe
