// SPDX-License-Identifier: Apache-2.0
// The models on this machine: in the caches of Hugging Face, Ollama, LM Studio and llama.cpp, and
// whatever was opened before. Only names, sizes and small headers are read.
#pragma once

#include "core/io/files.h"

namespace bitlathe {

struct LocatedModel {
  std::string name; ///< "org/name", "llama3.2:1b", "publisher/model"
  std::string
      source;    ///< id of the place: "huggingface", "ollama", "lmstudio", "llamacpp", "recent"
  fs::path path; ///< opens it
  std::string format;        ///< "safetensors", "gguf", "result", "session"; empty when unknown
  std::string quant;         ///< "Q4_K_M", "bfloat16", "gptq 4 bit"; empty when unknown
  std::uint64_t bytes = 0;   ///< of the weights
  std::int64_t modified = 0; ///< seconds since 1970, 0 unknown
  std::string problem;       ///< why it cannot be opened: not there any more, unfinished, pickles
};

/// A folder in which a program keeps its models.
struct ModelPlace {
  std::string source; ///< id of the program
  fs::path path;
};
/// "Hugging Face", "Ollama", ...: for people.
std::string_view source_title(std::string_view source);
/// Where the programs keep models for this user: what the environment says, then the usual places.
std::vector<ModelPlace> usual_model_places();

struct FoundModels {
  std::vector<LocatedModel> models; ///< by source, newest first
  struct Place {
    ModelPlace place;
    bool exists = false;
    int models = 0;
  };
  std::vector<Place> places;
  std::vector<std::string> notes; ///< folders that could not be read, lists that were cut short
  bool cancelled = false;         ///< what is here was found before the stop
};
/// Never fails: what cannot be read is a note. `recent` are paths that were opened before, latest
/// first.
FoundModels locate_models(const std::vector<ModelPlace>& places,
                          const std::vector<fs::path>& recent, const Feedback& feedback);

/// What a path holds, as far as a look at its surface tells.
LocatedModel describe_model(const fs::path& path);

} // namespace bitlathe
