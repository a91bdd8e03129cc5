// SPDX-License-Identifier: Apache-2.0
// What bitlathe.json, beside an export of this program, records of a module that the format itself
// has no place for.
#pragma once

#include "core/model/checkpoint.h"

namespace bitlathe {

class Recorded {
 public:
  /// Empty when there is no such file or it cannot be read.
  explicit Recorded(const fs::path& folder);

  /// Whether a module was meant to be run with float inputs, although programs that load the
  /// format code them. Only believed of a module that is still stored in the scheme it was
  /// written in.
  bool float_inputs(const std::string& module, const Scheme& scheme) const;

 private:
  Json modules_ = Json::object(); ///< by the name in the container
};

} // namespace bitlathe
