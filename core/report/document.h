// SPDX-License-Identifier: Apache-2.0
// A report as values: titled sections of paragraphs, tables, charts and code. It knows no output
// format; core/report/html.h writes it as a page, app/report/pdf.h as paper.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace bitlathe::report {

struct Paragraph {
  std::string text;
  enum class Kind { plain, note, warning, muted } kind = Kind::plain;
};

/// Names and what they stand for, one per line.
struct Facts {
  std::vector<std::pair<std::string, std::string>> lines;
  void add(std::string name, std::string text) {
    lines.emplace_back(std::move(name), std::move(text));
  }
};

struct DocumentTable {
  struct Column {
    std::string title;
    bool number = false; ///< right-aligned, tabular digits
  };
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows; ///< as many cells as columns
  std::string caption;
  std::vector<std::size_t> strong = {}; ///< rows that stand out
};

struct Figure {
  std::string svg;     ///< a complete svg element with a viewBox
  std::string caption; ///< what is to be seen in it; for readers without pictures too
  double width = 0, height = 0;
};

struct Code {
  std::string text;
};

using Block = std::variant<Paragraph, Facts, DocumentTable, Figure, Code>;
void add(std::vector<Block>& blocks, Paragraph paragraph);
void add(std::vector<Block>& blocks, Facts facts);
void add(std::vector<Block>& blocks, DocumentTable table);
void add(std::vector<Block>& blocks, Figure figure);
void add(std::vector<Block>& blocks, Code code);

struct Section {
  std::string id, title;
  std::vector<Block> blocks;
};

struct Document {
  std::string title, subtitle;
  std::vector<Section> sections;
};

/// Text with the special characters of XML replaced (for attributes in double quotes too), and
/// characters that XML forbids and
/// invalid UTF-8 as U+FFFD.
std::string xml_escaped(const std::string& text);

} // namespace bitlathe::report
