// SPDX-License-Identifier: Apache-2.0
#include "core/report/document.h"

#include <QString>

namespace bitlathe::report {

void add(std::vector<Block>& blocks, Paragraph paragraph) {
  blocks.emplace_back(std::move(paragraph));
}
void add(std::vector<Block>& blocks, Facts facts) { blocks.emplace_back(std::move(facts)); }
void add(std::vector<Block>& blocks, DocumentTable table) { blocks.emplace_back(std::move(table)); }
void add(std::vector<Block>& blocks, Figure figure) { blocks.emplace_back(std::move(figure)); }
void add(std::vector<Block>& blocks, Code code) { blocks.emplace_back(std::move(code)); }

std::string xml_escaped(const std::string& text) {
  QString characters = QString::fromStdString(text);
  for (QChar& c : characters)
    if ((c.unicode() < 0x20 && c != u'\n' && c != u'\t') || c.unicode() >= 0xfffe)
      c = QChar::ReplacementCharacter;
  return characters.toHtmlEscaped().toStdString();
}

} // namespace bitlathe::report
