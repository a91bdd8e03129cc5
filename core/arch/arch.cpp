// SPDX-License-Identifier: Apache-2.0
#include "core/model/spec.h"

namespace bitlathe {

const Arch* find_arch(std::string_view id) {
  for (const Arch* arch : all_archs())
    if (arch->id == id)
      return arch;
  return nullptr;
}

} // namespace bitlathe
