// SPDX-License-Identifier: Apache-2.0
#include "core/report/document.h"

#include <QString>

namespace bitlathe::report {

std::string xml_escaped(const std::string& text) {
  QString characters = QString::fromStdString(text);
  for (QChar& c : characters)
    if ((c.unicode() < 0x20 && c != u'\n' && c != u'\t') || c.unicode() >= 0xfffe)
      c = QChar::ReplacementCharacter;
  return characters.toHtmlEscaped().toStdString();
}

} // namespace bitlathe::report
