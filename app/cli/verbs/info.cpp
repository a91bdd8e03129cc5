// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/text/tokenizer.h"

#include <ostream>

namespace bitlathe {

namespace {

std::string shape_text(const OrderedJson& shape) {
  std::string text;
  for (const auto& extent : shape)
    text += (text.empty() ? "" : " x ") + std::to_string(extent.get<std::int64_t>());
  return text;
}

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  OrderedJson json;
  json["path"] = model->path.string();
  json["format"] = model->format;
  json["architecture"] = model->architecture;
  json["parameters"] = model->parameters();
  json["bytes"] = model->bytes();
  json["runnable"] = model->spec.has_value();
  if (!model->spec)
    json["why_not_runnable"] = model->why_not_runnable;
  else
    json["context"] = model->spec->context;
  json["modules"] = OrderedJson::array();
  for (const Module& module : model->modules) {
    OrderedJson entry{{"name", module.name},
                      {"role", module.role},
                      {"shape", module.shape},
                      {"dtype", module.dtype()},
                      {"scheme", module.weight.scheme.id},
                      {"bytes", module.bytes()}};
    if (module.bias.rows > 0)
      entry["bias"] = true;
    if (module.activations != "none")
      entry["activations"] = module.activations;
    if (module.tied_to_embedding)
      entry["tied"] = true;
    json["modules"].push_back(std::move(entry));
  }
  if (model->tokenizer)
    json["tokenizer"] = {{"kind", model->tokenizer->kind()},
                         {"vocab_size", model->tokenizer->vocab_size()}};
  else
    json["tokenizer"] = {
        {"kind", "none"}, {"vocab_size", 0}, {"problem", model->tokenizer_problem}};
  json["notes"] = model->notes;
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  out << json["path"].get<std::string>() << "\n"
      << json["architecture"].get<std::string>() << ", " << json["format"].get<std::string>()
      << ", " << json["parameters"] << " parameters, "
      << show_bytes(json["bytes"].get<std::uint64_t>()) << "\n";
  const auto& tokenizer = json["tokenizer"];
  out << "tokenizer: " << tokenizer["kind"].get<std::string>();
  if (tokenizer.contains("problem"))
    out << " (" << tokenizer["problem"].get<std::string>() << ")";
  else
    out << ", " << tokenizer["vocab_size"] << " tokens";
  out << "\n";
  if (!json["runnable"].get<bool>())
    out << "cannot be run: " << json["why_not_runnable"].get<std::string>() << "\n";
  TextTable table({"MODULE", "ROLE", "SHAPE", "TYPE", "SCHEME", "SIZE"});
  for (const auto& m : json["modules"])
    table.add({m["name"].get<std::string>(), m["role"].get<std::string>(), shape_text(m["shape"]),
               m["dtype"].get<std::string>(), m["scheme"].get<std::string>(),
               show_bytes(m["bytes"].get<std::uint64_t>())});
  out << '\n';
  table.print(out);
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
}

} // namespace

extern const Verb verb_info;
const Verb verb_info{"info", "MODEL", "What the checkpoint holds.", 1, 1, {}, run, show};

} // namespace bitlathe
