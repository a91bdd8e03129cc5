// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/report/pdf.h"

#include "core/io/files.h"
#include "core/report/html.h"

#include <algorithm>
#include <QAbstractTextDocumentLayout>
#include <QBuffer>
#include <QGuiApplication>
#include <QPainter>
#include <QPdfWriter>
#include <QSvgRenderer>
#include <QTextCursor>
#include <QTextDocument>
#include <QTextObjectInterface>
#include <QTextTable>

namespace bitlathe::report {
namespace {

constexpr int chart_object = QTextFormat::UserObject + 1;
constexpr int svg_property = 1, size_property = 2;
const QColor ink(0x1c, 0x27, 0x33), muted(0x5d, 0x6b, 0x7a), line(0xd5, 0xdb, 0xe2),
    soft(0xf3, 0xf5, 0xf8), warn(0x9a, 0x62, 0x00);

QString q(const std::string& text) { return QString::fromStdString(text); }

/// Draws an SVG in the flow of text, as vectors.
class ChartObject : public QObject, public QTextObjectInterface {
  Q_OBJECT
  Q_INTERFACES(QTextObjectInterface)
 public:
  using QObject::QObject;
  QSizeF intrinsicSize(QTextDocument*, int, const QTextFormat& format) override {
    return format.property(size_property).toSizeF();
  }
  void drawObject(QPainter* painter, const QRectF& rect, QTextDocument*, int,
                  const QTextFormat& format) override {
    QSvgRenderer svg(format.property(svg_property).toByteArray());
    svg.render(painter, rect);
  }
};

class PdfText {
 public:
  PdfText(QTextDocument& text, double width) : cursor_(&text), width_(width) {}

  void heading(const QString& words, int size, double above) {
    QTextCharFormat format;
    format.setFontPointSize(size);
    format.setFontWeight(QFont::DemiBold);
    format.setForeground(ink);
    block(above, 4);
    cursor_.insertText(words, format);
  }
  void paragraph(const QString& words, const QColor& color, double size = 9) {
    block(2, 4);
    cursor_.insertText(words, characters(color, size));
  }

  void operator()(const Paragraph& paragraph_) {
    paragraph(q(paragraph_.text), paragraph_.kind == Paragraph::Kind::warning ? warn
                                  : paragraph_.kind == Paragraph::Kind::plain ? ink
                                                                              : muted);
  }
  void operator()(const Facts& facts) {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [name, text] : facts.lines)
      rows.push_back({name, text});
    QTextTable* table = insert(int(rows.size()), 2);
    for (int row = 0; row < int(rows.size()); ++row)
      for (int column = 0; column < 2; ++column)
        fill(table->cellAt(row, column), q(rows[std::size_t(row)][std::size_t(column)]),
             characters(column == 0 ? muted : ink, 8.5), Qt::AlignLeft);
    leave();
  }
  void operator()(const DocumentTable& shown) {
    if (!shown.caption.empty())
      paragraph(q(shown.caption), muted, 8);
    // Wide tables get smaller letters, so that no column is squeezed to single ones.
    const double size = shown.columns.size() > 10 ? 5 : shown.columns.size() > 7 ? 6.5 : 7.5;
    QTextTable* table = insert(int(shown.rows.size()) + 1, int(shown.columns.size()));
    QTextTableFormat format = table->format();
    format.setHeaderRowCount(1);
    format.setBorder(0.5);
    format.setBorderBrush(line);
    format.setBorderCollapse(true);
    table->setFormat(format);
    for (std::size_t column = 0; column < shown.columns.size(); ++column) {
      const auto align = shown.columns[column].number ? Qt::AlignRight : Qt::AlignLeft;
      QTextTableCell head = table->cellAt(0, int(column));
      QTextCharFormat background = head.format();
      background.setBackground(soft);
      head.setFormat(background);
      QTextCharFormat bold = characters(ink, size);
      bold.setFontWeight(QFont::DemiBold);
      fill(head, q(shown.columns[column].title), bold, align);
      for (std::size_t row = 0; row < shown.rows.size(); ++row) {
        QTextCharFormat letters = characters(ink, size);
        if (std::find(shown.strong.begin(), shown.strong.end(), row) != shown.strong.end())
          letters.setFontWeight(QFont::DemiBold);
        if (column < shown.rows[row].size())
          fill(table->cellAt(int(row) + 1, int(column)), q(shown.rows[row][column]), letters,
               align);
      }
    }
    leave();
  }
  void operator()(const Figure& figure) {
    const double scale = std::min(1.0, width_ / std::max(figure.width, 1.0));
    block(6, 2);
    QTextCharFormat format;
    format.setObjectType(chart_object);
    format.setProperty(svg_property, QByteArray::fromStdString(figure.svg));
    format.setProperty(size_property, QSizeF(figure.width * scale, figure.height * scale));
    cursor_.insertText(QString(QChar::ObjectReplacementCharacter), format);
    paragraph(q(figure.caption), muted, 8);
  }
  void operator()(const Code& code) {
    for (const QString& row : q(code.text).split('\n')) {
      block(0, 0);
      QTextCharFormat format = characters(ink, 7.5);
      format.setFontFamilies({QStringLiteral("DejaVu Sans Mono"), QStringLiteral("monospace")});
      cursor_.insertText(row, format);
    }
    block(2, 4);
  }

 private:
  static QTextCharFormat characters(const QColor& color, double size) {
    QTextCharFormat format;
    format.setFontPointSize(size);
    format.setForeground(color);
    return format;
  }
  void block(double above, double below) {
    QTextBlockFormat format;
    format.setTopMargin(above);
    format.setBottomMargin(below);
    if (started_)
      cursor_.insertBlock(format);
    else
      cursor_.setBlockFormat(format);
    started_ = true;
  }
  QTextTable* insert(int rows, int columns) {
    QTextTableFormat format;
    format.setBorder(0);
    format.setCellPadding(2.5);
    format.setCellSpacing(0);
    block(2, 0);
    return cursor_.insertTable(std::max(rows, 1), std::max(columns, 1), format);
  }
  void leave() { cursor_.movePosition(QTextCursor::End); }
  static void fill(const QTextTableCell& cell, const QString& words, const QTextCharFormat& format,
                   Qt::Alignment align) {
    QTextCursor cursor = cell.firstCursorPosition();
    QTextBlockFormat block;
    block.setAlignment(align);
    cursor.setBlockFormat(block);
    cursor.insertText(words, format);
  }

  QTextCursor cursor_;
  double width_;
  bool started_ = false;
};

} // namespace

Result<void> write_pdf(const Document& document, const std::filesystem::path& path) {
  Q_ASSERT(qGuiApp);
  QByteArray bytes;
  QBuffer buffer(&bytes);
  buffer.open(QIODevice::WriteOnly);
  QPdfWriter writer(&buffer);
  writer.setTitle(q(document.title));
  writer.setCreator(QStringLiteral("Bitlathe"));
  writer.setPageSize(QPageSize(QPageSize::A4));
  writer.setPageMargins(QMarginsF(15, 15, 15, 18), QPageLayout::Millimeter);
  writer.setResolution(300);

  // Laid out in points at 96 to the inch, as charts are drawn, and scaled when painted.
  const double scale = writer.resolution() / 96.0;
  const QSizeF page(writer.width() / scale, writer.height() / scale);
  QTextDocument text;
  ChartObject charts;
  text.documentLayout()->registerHandler(chart_object, &charts);
  QFont font(QStringLiteral("DejaVu Sans"));
  font.setPointSizeF(9);
  text.setDefaultFont(font);
  text.setDocumentMargin(0);
  text.setPageSize(page);
  // One edit, or tables would be laid out anew with every cell.
  QTextCursor edit(&text);
  edit.beginEditBlock();
  PdfText flow(text, page.width());
  flow.heading(q(document.title), 17, 0);
  flow.paragraph(q(document.subtitle), muted, 8.5);
  for (const Section& section : document.sections) {
    flow.heading(q(section.title), 13, 16);
    for (const Block& block : section.blocks)
      std::visit(flow, block);
  }
  edit.endEditBlock();

  QPainter painter(&writer);
  if (!painter.isActive())
    return Error{"io", "The PDF cannot be drawn", path.string()};
  painter.scale(scale, scale);
  const int pages = text.pageCount();
  for (int number = 0; number < pages; ++number) {
    if (number > 0)
      writer.newPage();
    painter.save();
    painter.translate(0, -number * page.height());
    QAbstractTextDocumentLayout::PaintContext context;
    context.clip = QRectF(0, number * page.height(), page.width(), page.height());
    context.palette.setColor(QPalette::Text, ink);
    painter.setClipRect(context.clip);
    text.documentLayout()->draw(&painter, context);
    painter.restore();
    painter.setPen(muted);
    font.setPixelSize(10);
    painter.setFont(font);
    painter.drawText(QRectF(0, page.height() + 12, page.width(), 16), Qt::AlignRight,
                     QStringLiteral("%1 / %2").arg(number + 1).arg(pages));
  }
  painter.end();
  return write_file(path, {bytes.constData(), std::size_t(bytes.size())});
}

Result<void> write_document(const Document& document, const std::filesystem::path& path) {
  const QString ending = QString::fromStdString(path.extension().string()).toLower();
  if (ending == QLatin1String(".html") || ending == QLatin1String(".htm"))
    return write_file(path, document_html(document));
  if (ending == QLatin1String(".pdf"))
    return write_pdf(document, path);
  return Error{"bad-argument", "A report is a .html or a .pdf file", path.string()};
}

} // namespace bitlathe::report

#include "pdf.moc"
