// SPDX-License-Identifier: Apache-2.0
// A comparison as JSON: what sessions keep and reports read.
#pragma once

#include "core/eval/eval.h"

namespace bitlathe {

OrderedJson part_figures_to_json(const std::vector<PartFigures>& parts);
OrderedJson compare_result_to_json(const CompareResult& result);
OrderedJson compare_to_json(const CompareReport& report);
/// What is missing is NaN, 0 or empty.
CompareResult compare_result_from_json(const Json& json);
CompareReport compare_from_json(const Json& json);

} // namespace bitlathe
