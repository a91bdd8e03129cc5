// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/engine/kv_memory.h"
#include "core/io/gguf_json.h"
#include "core/job/memory.h"
#include "core/model/locate.h"
#include "core/model/summary.h"
#include "core/schemes/activations.h"
#include "core/text/tokenizer.h"

#include <chrono>
#include <ctime>
#include <map>
#include <ostream>

namespace bitlathe {

namespace {

std::string shape_text(const OrderedJson& shape) {
  std::string text;
  for (const auto& extent : shape)
    text += (text.empty() ? "" : " x ") + std::to_string(extent.get<std::int64_t>());
  return text;
}

/// "2026-11-22 08:31", local time.
std::string date_text(std::int64_t seconds) {
  const auto time = std::time_t(seconds);
  std::tm parts{};
  char text[32] = "";
  if (seconds > 0 && localtime_r(&time, &parts))
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
  return text;
}

/// Without MODEL: what there is on this machine.
OrderedJson list_models(const Feedback& feedback) {
  const FoundModels found = locate_models(usual_model_places(), {}, feedback);
  OrderedJson json;
  json["models"] = OrderedJson::array();
  for (const auto& model : found.models) {
    OrderedJson entry{{"name", model.name},          {"source", model.source},
                      {"path", model.path.string()}, {"format", model.format},
                      {"quant", model.quant},        {"bytes", model.bytes},
                      {"modified", model.modified}};
    if (!model.problem.empty())
      entry["problem"] = model.problem;
    json["models"].push_back(std::move(entry));
  }
  json["places"] = OrderedJson::array();
  for (const auto& place : found.places)
    json["places"].push_back({{"source", place.place.source},
                              {"path", place.place.path.string()},
                              {"exists", place.exists},
                              {"models", place.models}});
  json["notes"] = found.notes;
  return json;
}

/// "q4_k x 168, q6_k x 25, f32 x 73", most bytes first, and the rest of what a person asks first.
OrderedJson summary_json(const Checkpoint& model) {
  const CheckpointSummary summary = summarize(model);
  OrderedJson schemes = OrderedJson::array();
  for (const auto& share : summary.schemes)
    schemes.push_back({{"scheme", share.scheme},
                       {"modules", share.modules},
                       {"bytes", share.bytes},
                       {"bits", share.bits}});
  OrderedJson facts = OrderedJson::object();
  for (const auto& [name, value] : summary.facts)
    facts[name] = value;
  return {{"schemes", std::move(schemes)},
          {"mixed", summary.mixed},
          {"bits_per_weight", summary.bits_per_weight},
          {"facts", std::move(facts)}};
}

/// On one line; arrays and texts cut short.
std::string metadata_text(const OrderedJson& value) {
  constexpr std::size_t longest = 70;
  const bool abbreviated = value.is_object();
  std::string text =
      value.is_string() ? value.get<std::string>() : (abbreviated ? value["first"] : value).dump();
  std::string line;
  for (const char c : text)
    line += c == '\n' ? "\\n" : c == '\t' ? "\\t" : std::string(1, c);
  if (line.size() > longest) {
    std::size_t end = longest;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80)
      --end; // not inside a character
    line = line.substr(0, end) + "...";
  }
  return abbreviated ? value["type"].get<std::string>() + "[" + value["length"].dump() + "] " + line
                     : line;
}

Result<OrderedJson> run(Invocation& invocation) {
  if (invocation.arguments.empty())
    return list_models(invocation.feedback);
  const auto start = std::chrono::steady_clock::now();
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
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
  json["name"] = model->name;
  json["summary"] = summary_json(*model);
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
    if (const auto* scheme = find_activation_scheme(module.activations)) {
      if (scheme->is_static)
        entry["activation_scale"] = json_number(double(module.activation_scale));
      if (scheme->simulated)
        entry["activations_simulated"] = true;
      if (scheme->id == "llm-int8")
        entry["outlier_threshold"] = json_number(double(module.outlier_threshold));
    }
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
  if (model->spec) {
    json["kv"] = kv_memory_json(*model->spec, {model->kv_keys, model->kv_values});
    if (!model->kv_scales.empty())
      json["kv"]["scales"] = model->kv_scales;
  }
  json["seconds"] = seconds.count();
  json["peak_rss_bytes"] = peak_rss_bytes();
  json["notes"] = model->notes;
  if (!model->gguf.empty())
    json["metadata"] =
        gguf_metadata_json(model->gguf, invocation.has("metadata") ? SIZE_MAX : std::size_t(32));
  return json;
}

void show_models(const OrderedJson& json, std::ostream& out) {
  TextTable table({"MODEL", "FORMAT", "TYPE", "SIZE", "CHANGED", "PATH"});
  std::string source;
  const auto flush = [&] {
    if (source.empty())
      return;
    out << source_title(source) << '\n';
    table.print(out);
    out << '\n';
    table = TextTable({"MODEL", "FORMAT", "TYPE", "SIZE", "CHANGED", "PATH"});
  };
  for (const auto& m : json["models"]) {
    if (const auto next = m["source"].get<std::string>(); next != source) {
      flush();
      source = next;
    }
    const auto text = [&](const char* key) { return m[key].get<std::string>(); };
    table.add({text("name"), text("format"), text("quant"),
               show_bytes(m["bytes"].get<std::uint64_t>()),
               date_text(m["modified"].get<std::int64_t>()),
               m.contains("problem") ? text("problem") : text("path")});
  }
  flush();
  if (json["models"].empty()) {
    out << "No models were found. Looked in:\n";
    for (const auto& place : json["places"])
      out << "  " << place["path"].get<std::string>()
          << (place["exists"].get<bool>() ? "" : "  (not there)") << '\n';
    out << "`bitlathe-cli info MODEL` opens a folder or a file anywhere.\n";
  }
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
}

void show(const OrderedJson& json, std::ostream& out) {
  if (json.contains("models")) {
    show_models(json, out);
    return;
  }
  out << json["path"].get<std::string>() << "\n"
      << json["architecture"].get<std::string>() << ", " << json["format"].get<std::string>()
      << ", " << json["parameters"] << " parameters, "
      << show_bytes(json["bytes"].get<std::uint64_t>()) << "\n";
  const auto& summary = json["summary"];
  std::string schemes;
  for (const auto& share : summary["schemes"])
    schemes += (schemes.empty() ? "" : ", ") + share["scheme"].get<std::string>() + " x " +
               share["modules"].dump();
  if (!schemes.empty()) // a file may hold a vocabulary only
    out << "stored as: " << schemes << (summary["mixed"].get<bool>() ? " (mixed)" : "") << ", "
        << show_number(summary["bits_per_weight"].get<double>(), 4) << " bits per weight\n";
  for (const auto& [name, value] : summary["facts"].items())
    out << name << ": " << value.get<std::string>() << "\n";
  if (!json["runnable"].get<bool>())
    out << "cannot be run: " << json["why_not_runnable"].get<std::string>() << "\n";
  if (json.contains("kv") && json["kv"].contains("bytes_per_token")) {
    const auto& kv = json["kv"];
    out << "KV cache (keys " << kv["k"].get<std::string>() << ", values "
        << kv["v"].get<std::string>()
        << "): " << show_bytes(kv["bytes_per_token"].get<std::uint64_t>()) << " per token";
    for (const auto& length : kv["lengths"])
      out << ", " << show_bytes(length["bytes"].get<std::uint64_t>()) << " at " << length["tokens"];
    out << "\n";
  }
  std::map<std::string, std::int64_t> coded;
  for (const auto& m : json["modules"])
    if (m.contains("activations"))
      ++coded[m["activations"].get<std::string>() +
              (m.contains("activations_simulated") ? " (simulated)" : "")];
  for (const auto& [scheme, count] : coded)
    out << "activations: " << scheme << " in " << count << " modules\n";
  TextTable table({"MODULE", "ROLE", "SHAPE", "TYPE", "SCHEME", "SIZE"});
  for (const auto& m : json["modules"])
    table.add({m["name"].get<std::string>(), m["role"].get<std::string>(), shape_text(m["shape"]),
               m["dtype"].get<std::string>(), m["scheme"].get<std::string>(),
               show_bytes(m["bytes"].get<std::uint64_t>())});
  out << '\n';
  table.print(out);
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  if (!json.contains("metadata"))
    return;
  TextTable metadata({"METADATA", "VALUE"});
  for (const auto& [key, value] : json["metadata"].items())
    metadata.add({key, metadata_text(value)});
  out << '\n';
  metadata.print(out);
}

constexpr VerbOption options[] = {
    {"metadata", "", "With --json: the metadata of a GGUF file in full, long lists included."},
};

} // namespace

extern const Verb verb_info;
const Verb verb_info{
    "info", "[MODEL]", "What the checkpoint holds; without MODEL: the models on this machine.",
    0,      1,         options,
    run,    show};

} // namespace bitlathe
