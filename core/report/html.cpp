// SPDX-License-Identifier: Apache-2.0
#include "core/report/html.h"

#include <algorithm>

namespace bitlathe::report {

namespace {

constexpr const char* style = R"(
:root { color-scheme: light dark; --ink: #1c2733; --muted: #5d6b7a; --paper: #ffffff; --line: #d5dbe2;
  --soft: #f3f5f8; --accent: #0f7f86; --warn: #9a6200; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4eaf0; --muted: #97a6b5; --paper: #161c23;
  --line: #323e4a; --soft: #1f2831; --accent: #35b3b5; --warn: #f2b75a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 960px; padding: 24px 20px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 36px 0 10px; border-bottom: 1px solid var(--line); padding-bottom: 4px; }
p { margin: 8px 0; max-width: 75ch; }
.muted, figcaption, caption { color: var(--muted); font-size: 13px; }
.note { border-left: 3px solid var(--line); padding-left: 10px; }
.warning { border-left: 3px solid var(--warn); padding-left: 10px; color: var(--warn); }
nav a { margin-right: 14px; color: var(--accent); text-decoration: none; white-space: nowrap; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 10px 0; font-size: 13.5px; }
caption { text-align: left; padding: 4px 0; }
th, td { border-bottom: 1px solid var(--line); padding: 4px 10px; text-align: left; vertical-align: top; }
th { background: var(--soft); font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.strong td { font-weight: 600; }
figure { margin: 14px 0; }
svg { max-width: 100%; height: auto; }
pre { background: var(--soft); padding: 10px 12px; overflow-x: auto; font-size: 13px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; margin: 8px 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { max-width: none; } nav { display: none; } h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; } }
)";

std::string lines(const std::string& text) {
  std::string out;
  for (const char c : xml_escaped(text))
    out += c == '\n' ? std::string("<br/>") : std::string(1, c);
  return out;
}

struct Writer {
  std::string& out;

  void operator()(const Paragraph& paragraph) const {
    constexpr const char* kinds[] = {"", " class=\"note\"", " class=\"warning\"",
                                     " class=\"muted\""};
    out += "<p" + std::string(kinds[std::size_t(paragraph.kind)]) + ">" + lines(paragraph.text) +
           "</p>\n";
  }
  void operator()(const Facts& facts) const {
    out += "<dl>\n";
    for (const auto& [name, text] : facts.lines)
      out += "<dt>" + xml_escaped(name) + "</dt><dd>" + lines(text) + "</dd>\n";
    out += "</dl>\n";
  }
  void operator()(const DocumentTable& table) const {
    out += "<div class=\"wide\"><table>\n";
    if (!table.caption.empty())
      out += "<caption>" + xml_escaped(table.caption) + "</caption>\n";
    out += "<thead><tr>";
    for (const auto& column : table.columns)
      out += std::string(column.number ? "<th class=\"n\">" : "<th>") + xml_escaped(column.title) +
             "</th>";
    out += "</tr></thead>\n<tbody>\n";
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      const bool strong =
          std::find(table.strong.begin(), table.strong.end(), r) != table.strong.end();
      out += strong ? "<tr class=\"strong\">" : "<tr>";
      for (std::size_t c = 0; c < table.columns.size() && c < table.rows[r].size(); ++c)
        out += (table.columns[c].number ? "<td class=\"n\">" : "<td>") + lines(table.rows[r][c]) +
               "</td>";
      out += "</tr>\n";
    }
    out += "</tbody></table></div>\n";
  }
  void operator()(const Figure& figure) const {
    out += "<figure>" + figure.svg + "<figcaption>" + lines(figure.caption) +
           "</figcaption></figure>\n";
  }
  void operator()(const Code& code) const { out += "<pre>" + xml_escaped(code.text) + "</pre>\n"; }
};

} // namespace

std::string document_html(const Document& document) {
  std::string out = "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n"
                    "<head><meta charset=\"utf-8\"/>\n"
                    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                    "<title>" +
                    xml_escaped(document.title) + "</title>\n<style>" + style +
                    "</style></head>\n<body>\n<h1>" + xml_escaped(document.title) +
                    "</h1>\n<p class=\"muted\">" + lines(document.subtitle) + "</p>\n<nav>";
  for (const Section& section : document.sections)
    out += "<a href=\"#" + xml_escaped(section.id) + "\">" + xml_escaped(section.title) + "</a>\n";
  out += "</nav>\n";
  for (const Section& section : document.sections) {
    out += "<section id=\"" + xml_escaped(section.id) + "\"><h2>" + xml_escaped(section.title) +
           "</h2>\n";
    for (const Block& block : section.blocks)
      std::visit(Writer{out}, block);
    out += "</section>\n";
  }
  return out + "</body></html>\n";
}

} // namespace bitlathe::report
