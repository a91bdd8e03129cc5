// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/text/tokenizer.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  if (!invocation.has("text") && !invocation.has("prompt"))
    return usage_error("tokenize needs --text FILE or --prompt TEXT");
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  if (!model->tokenizer)
    return Error{"unsupported", "The model has no usable tokenizer: " + model->tokenizer_problem,
                 model->path.string()};
  std::string text = invocation.text("prompt");
  if (invocation.has("text")) {
    TRY_ASSIGN(text, read_text_file(invocation.text("text")));
  }
  EncodeOptions encode;
  encode.add_special = !invocation.has("no-special");
  encode.parse_special = invocation.has("parse-special");
  OrderedJson json;
  json["ids"] = model->tokenizer->encode(text, encode);
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
