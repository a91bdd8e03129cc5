// SPDX-License-Identifier: Apache-2.0
// The report on a session: model, recipe, plan with reasons, worst layers, figures, votes,
// environment, and the commands that do it again.
#pragma once

#include "core/report/section.h"

namespace bitlathe::report {

/// Opens what a session names. Only the checkpoint must be there; the rest becomes notes.
Result<Input> open_input(Session session, const fs::path& file);

/// All sections that have something to say. `feedback` names the section at work.
Result<Document> session_report(const Input& input, Compute& compute, Feedback& feedback);

} // namespace bitlathe::report
