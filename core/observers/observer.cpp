// SPDX-License-Identifier: Apache-2.0
#include "core/observers/observer.h"

namespace bitlathe {

const Observer* find_observer(std::string_view id) {
  for (const Observer* observer : all_observers())
    if (observer->id == id)
      return observer;
  return nullptr;
}

} // namespace bitlathe
