// SPDX-License-Identifier: Apache-2.0
#include "core/judge/desk.h"

#include <algorithm>
#include <filesystem>

namespace bitlathe {

namespace {

bool same_question(const Transcript& a, const Transcript& b) {
  return a.prompt_id == b.prompt_id && a.prompt == b.prompt && a.chat == b.chat &&
         a.system == b.system && a.sampling == b.sampling;
}

/// Two results of one recipe have the same title: their folders tell them apart.
void tell_apart(std::vector<DeskModel>& models) {
  std::vector<bool> doubtful(models.size(), false);
  for (std::size_t i = 0; i < models.size(); ++i)
    for (std::size_t j = 0; j < models.size(); ++j)
      doubtful[i] = doubtful[i] || (i != j && models[i].title == models[j].title);
  for (std::size_t i = 0; i < models.size(); ++i)
    if (doubtful[i])
      models[i].title += " (" + std::filesystem::path(models[i].path).filename().string() + ")";
}

} // namespace

std::string prompt_category(std::string_view id) {
  constexpr std::string_view separators = "-_/.:# ";
  std::size_t end = id.size();
  while (end > 0 && id[end - 1] >= '0' && id[end - 1] <= '9')
    --end;
  if (end < id.size()) { // numbered within its category
    while (end > 0 && separators.find(id[end - 1]) != std::string_view::npos)
      --end;
    return std::string(id.substr(0, end));
  }
  const std::size_t first = id.find_first_of(separators);
  return first == std::string_view::npos ? std::string() : std::string(id.substr(0, first));
}

DeskMaterial desk_material(const std::vector<Transcript>& transcripts) {
  DeskMaterial out;
  std::vector<const Transcript*> questions; // one for each prompt of `out`
  for (const Transcript& transcript : transcripts) {
    const auto known =
        std::find_if(questions.begin(), questions.end(),
                     [&](const Transcript* other) { return same_question(*other, transcript); });
    const auto at = std::size_t(known - questions.begin());
    if (known == questions.end()) {
      questions.push_back(&transcript);
      out.prompts.push_back({transcript.prompt_id,
                             prompt_category(transcript.prompt_id),
                             transcript.system,
                             transcript.prompt,
                             transcript.chat,
                             {}});
    }
    for (const TranscriptSide& side : transcript.sides) {
      const DeskModel model{side.title, side.path};
      auto place = std::find(out.models.begin(), out.models.end(), model);
      if (place == out.models.end())
        place = out.models.insert(place, model);
      auto& answers = out.prompts[at].answers;
      answers.resize(std::max(answers.size(), std::size_t(place - out.models.begin()) + 1));
      DeskAnswer& answer = answers[std::size_t(place - out.models.begin())];
      answer.problem = !side.problem.empty()           ? side.problem
                       : side.stop_reason == "stopped" ? "the generation was stopped"
                                                       : "";
      answer.there = answer.problem.empty();
      answer.text = side.text;
    }
  }
  for (DeskPrompt& prompt : out.prompts)
    prompt.answers.resize(out.models.size());
  tell_apart(out.models);
  return out;
}

} // namespace bitlathe
