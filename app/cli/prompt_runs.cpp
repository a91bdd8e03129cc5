// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/prompt_runs.h"

#include "app/cli/steps.h"
#include "core/engine/residency.h"
#include "core/job/memory.h"
#include "core/judge/outcome.h"
#include "core/judge/runs.h"
#include "core/judge/transcript_files.h"

#include <algorithm>
#include <ostream>
#include <set>

namespace bitlathe {

namespace {

/// Opened models with engines that are made when a prompt first needs them.
struct Models {
  std::vector<RunModel> list;
  std::vector<std::unique_ptr<Engine>> engines;
};

Result<std::unique_ptr<Models>> open_models(Invocation& invocation, Compute& compute,
                                            const EngineOptions& options) {
  auto out = std::make_unique<Models>();
  out->engines.resize(invocation.arguments.size());
  std::set<std::string> names;
  bool differ = true;
  for (const std::string& path : invocation.arguments) {
    TRY_ASSIGN(auto model, open_model(path));
    differ = names.insert(model->name).second && differ;
    out->list.push_back({model->name, std::move(model), {}});
  }
  for (std::size_t i = 0; i < out->list.size(); ++i) {
    if (!differ)
      out->list[i].title = invocation.arguments[i];
    out->list[i].engine = [models = out.get(), i, &compute, options]() -> Result<Engine*> {
      auto& engine = models->engines[i];
      if (!engine) {
        TRY_ASSIGN(engine, Engine::create(models->list[i].checkpoint, compute, options));
      }
      return engine.get();
    };
  }
  return out;
}

/// Replaces the transcript of the same prompt, or adds one, in the order of the set.
void put(std::vector<Transcript>& transcripts, const Transcript& transcript) {
  const auto old = std::find_if(transcripts.begin(), transcripts.end(), [&](const Transcript& t) {
    return t.prompt_id == transcript.prompt_id;
  });
  if (old == transcripts.end())
    transcripts.push_back(transcript);
  else
    *old = transcript;
}

} // namespace

Result<OrderedJson> run_prompt_set(Invocation& invocation, const GenerateOptions& options,
                                   const EngineOptions& run_options) {
  TRY_ASSIGN(const PromptSet set, read_prompts(invocation.text("prompts")));
  const fs::path file = invocation.text("o");
  if (invocation.has("o"))
    TRY(check_transcript_path(file));
  RunOptions run;
  run.sampling = {double(options.sampling.temperature), double(options.sampling.top_p),
                  options.sampling.top_k, options.max_new, options.sampling.seed};
  run.chat = invocation.has("chat");
  run.system = invocation.text("system");
  run.set = set.name;
  if (options.logprobs > 0)
    run.alternatives = options.logprobs;
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const auto models, open_models(invocation, *compute, run_options));
  run.turn =
      tokens_in_turn(models->list, run_options.residency ? run_options.residency->budget() : 0);

  std::vector<Transcript> kept, transcripts;
  std::vector<std::string> notes = set.notes;
  if (std::error_code none; invocation.has("resume") && fs::exists(file, none)) {
    TRY_ASSIGN(kept, read_transcripts(file));
  }
  std::vector<Prompt> prompts;
  for (const Prompt& prompt : set.prompts) {
    const auto done = std::find_if(kept.begin(), kept.end(), [&](const Transcript& t) {
      return is_run_already(t, prompt, models->list, run);
    });
    if (done == kept.end())
      prompts.push_back(prompt);
    else
      transcripts.push_back(*done);
  }
  if (!transcripts.empty())
    notes.push_back(std::to_string(transcripts.size()) + " of " +
                    std::to_string(set.prompts.size()) + " prompts had been run before");

  const std::string model = models->list[0].checkpoint->name;
  Result<void> written;
  RunSink sink;
  sink.prompt_begun = [&](std::size_t i) {
    invocation.feedback.log(LogLevel::info, "Prompt " + std::to_string(i + 1) + " of " +
                                                std::to_string(prompts.size()) + " (" +
                                                prompts[i].id + ")");
  };
  sink.prompt_done = [&](std::size_t, const Transcript& transcript) {
    if (!transcript.complete())
      return;
    put(transcripts, transcript);
    if (invocation.has("o") && written) {
      written = write_transcripts(transcripts, model, file);
      if (!written)
        invocation.feedback.stop = true; // nothing more could be kept
    }
  };
  const auto ran = run_prompts(models->list, prompts, run, invocation.feedback, sink);
  TRY(written);
  TRY(ran);

  // In the order of the set, also after a resume.
  std::vector<Transcript> ordered;
  for (const Prompt& prompt : set.prompts)
    for (const Transcript& t : transcripts)
      if (t.prompt_id == prompt.id)
        ordered.push_back(t);
  if (invocation.has("o"))
    TRY(write_transcripts(ordered, model, file));
  OrderedJson json = transcripts_document(ordered, model);
  json["set"] = {{"name", set.name}, {"prompts", set.prompts.size()}};
  if (invocation.has("o"))
    json["output"] = file.string();
  json["models"] = OrderedJson::array();
  for (std::size_t i = 0; i < models->list.size(); ++i) {
    if (models->engines[i])
      for (const std::string& note : models->engines[i]->notes())
        notes.push_back(models->list[i].title + ": " + note);
    json["models"].push_back({{"title", models->list[i].title},
                              {"path", invocation.arguments[i]},
                              {"bytes", models->list[i].checkpoint->bytes()}});
  }
  json["peak_rss_bytes"] = peak_rss_bytes();
  json["peak_mapped_bytes"] = peak_mapped_bytes();
  json["notes"] = notes;
  add_residency(run_options, json);
  return json;
}

void show_prompt_set(const OrderedJson& json, std::ostream& out) {
  std::vector<std::string> head{"PROMPT"};
  const auto& models = json["models"];
  for (std::size_t i = 1; i < models.size(); ++i) {
    head.push_back(models[i]["title"].get<std::string>());
    head.push_back("MEAN KL");
  }
  if (models.size() == 1)
    head.push_back("TOKENS");
  TextTable table(head);
  for (const auto& transcript : json["transcripts"]) {
    std::vector<std::string> row{transcript["prompt_id"].get<std::string>()};
    const auto& sides = transcript["sides"];
    for (std::size_t i = 1; i < sides.size(); ++i) {
      std::string text = "not compared", kl = "-";
      if (sides[i].contains("problem") || sides[0].contains("problem")) {
        text = "cannot run";
      } else if (const auto it = sides[i].find("outcome"); it != sides[i].end()) {
        text = (*it)["same"].get<bool>()
                   ? "the same"
                   : "parts at token " + std::to_string((*it)["parts_at"].get<std::int64_t>() + 1);
        if (it->contains("kl_mean") && (*it)["kl_mean"].is_number())
          kl = show_number((*it)["kl_mean"].get<double>(), 3);
      }
      row.push_back(text);
      row.push_back(kl);
    }
    if (sides.size() == 1)
      row.push_back(std::to_string(sides[0]["ids"].size()));
    table.add(row);
  }
  table.print(out);
  for (const auto& one : json["summary"]) {
    out << one["title"].get<std::string>() << ": " << one["same"] << " of " << one["prompts"]
        << " prompts with the same tokens throughout";
    if (one["kl_mean"].is_number())
      out << "; mean KL " << show_number(one["kl_mean"].get<double>(), 3);
    if (one["kl_stderr"].is_number())
      out << " +- " << show_number(one["kl_stderr"].get<double>(), 2);
    out << '\n';
  }
  if (json.contains("output"))
    out << "written to " << json["output"].get<std::string>() << '\n';
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
}

} // namespace bitlathe
