// SPDX-License-Identifier: Apache-2.0
// How other programs keep models on disk: the Hugging Face cache (repository folders with blobs,
// refs and snapshots of links) and Ollama (manifests that name blobs by digest).
#pragma once

#include "core/base/json.h"
#include "core/io/files.h"

#include <optional>

namespace bitlathe {

/// A folder "models--ORG--NAME" of the Hugging Face cache.
struct HfRepository {
  std::string id; ///< "org/name"
  struct Snapshot {
    fs::path path;
    std::string revision, ref; ///< ref: "main", or empty
    std::int64_t modified = 0;
    bool weights = false;
  };
  std::vector<Snapshot> snapshots; ///< best first: refs/main, other refs, newest; with weights
  bool unfinished = false;         ///< a download was interrupted
};
/// nullopt when the folder is not one.
std::optional<HfRepository> read_hf_repository(const fs::path& folder);
/// The repository folder that a snapshot, or a file in one, or a blob belongs to; else empty.
fs::path hf_repository_of(const fs::path& path);
/// Where a blob of the cache stands in a snapshot: the link with the name that people know.
fs::path hf_link_of_blob(const fs::path& blob);

/// One model of Ollama.
struct OllamaManifest {
  std::string name; ///< "llama3.2:1b"
  fs::path model;   ///< the blob with the weights; empty when there is none
  std::uint64_t bytes = 0;
  std::string quant, family; ///< "Q4_K_M", "llama"; may be empty
  std::string problem;       ///< why it cannot be opened; else empty
  struct Layer {
    std::string media_type;
    fs::path blob;
  };
  std::vector<Layer> layers;
};
/// Whether JSON is a manifest as Ollama writes them.
bool is_ollama_manifest(const Json& json);
Result<OllamaManifest> read_ollama_manifest(const fs::path& file);
/// The folder with `manifests` and `blobs` that a path lies in; else empty.
fs::path ollama_root_of(const fs::path& path);
/// All manifest files below a folder, at most `limit`.
std::vector<fs::path> ollama_manifests(const fs::path& folder, std::size_t limit,
                                       std::vector<std::string>* notes = nullptr,
                                       const Feedback* feedback = nullptr);

/// Modification time in seconds since 1970; 0 when unknown.
std::int64_t modified_seconds(const fs::path& path);
/// The path without ".", ".." and a slash at the end; links are not followed.
fs::path plain_path(const fs::path& path);
/// Entries of a folder, sorted, at most `limit`; what cannot be listed is said in `problem`.
std::vector<fs::path> entries_of(const fs::path& folder, std::size_t limit,
                                 std::string* problem = nullptr);

} // namespace bitlathe
