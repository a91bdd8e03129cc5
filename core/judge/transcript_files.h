// SPDX-License-Identifier: Apache-2.0
// Transcripts as files: JSON that comes back whole, Markdown to paste, and a page that needs
// nothing else.
#pragma once

#include "core/judge/transcripts.h"

namespace bitlathe {

/// {"version", "model", "summary", "transcripts"}; the last as a session keeps them, with what came
/// of each prompt.
OrderedJson transcripts_document(const std::vector<Transcript>& transcripts,
                                 const std::string& model);
std::string transcripts_markdown(const std::vector<Transcript>& transcripts,
                                 const std::string& model);
/// Self-contained: no scripts, no fonts, nothing from elsewhere; light and dark.
std::string transcripts_html(const std::vector<Transcript>& transcripts, const std::string& model);

/// What transcripts_document() wrote, or a bare list of transcripts.
Result<std::vector<Transcript>> read_transcripts(const std::filesystem::path& path);
/// Error "bad-argument" when the ending is none of .json, .md, .html.
Result<void> check_transcript_path(const std::filesystem::path& path);
/// By the file's ending: see check_transcript_path().
Result<void> write_transcripts(const std::vector<Transcript>& transcripts, const std::string& model,
                               const std::filesystem::path& path);

} // namespace bitlathe
