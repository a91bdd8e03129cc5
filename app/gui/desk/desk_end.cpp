// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/desk/desk_end.h"

#include "app/gui/desk/preference_bars.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/save_menu.h"
#include "core/judge/desk_result.h"

#include <algorithm>
#include <QFileDialog>
#include <QFileInfo>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QPushButton>
#include <QSaveFile>
#include <QScrollArea>
#include <QStackedWidget>
#include <QStandardItemModel>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

QString text(const std::string& s) { return QString::fromStdString(s); }

QTableView* makeTable(QAbstractItemModel* model, const QString& name, const QString& file,
                      QWidget* parent) {
  auto* table = new QTableView(parent);
  table->setModel(model);
  table->setAccessibleName(name);
  table->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table->setSelectionBehavior(QAbstractItemView::SelectRows);
  table->setShowGrid(false);
  table->setFrameShape(QFrame::NoFrame);
  table->setFont(numberFont());
  table->setTabKeyNavigation(false);
  table->verticalHeader()->hide();
  table->verticalHeader()->setDefaultSectionSize(26);
  table->horizontalHeader()->setHighlightSections(false);
  table->horizontalHeader()->setDefaultAlignment(Qt::AlignLeft | Qt::AlignVCenter);
  addTableMenu(table, file);
  return table;
}

QStandardItem* cell(const QString& shown, const QString& tip = {}) {
  auto* item = new QStandardItem(shown);
  item->setToolTip(tip.isEmpty() ? shown : tip);
  return item;
}

QString oneLine(const std::string& s) { return text(s).simplified(); }

QString percent(const DeskShare& share) {
  return share.of > 0 ? formatPercent(share.share, 0) : QStringLiteral("\u2013");
}

QString range(const Interval& interval, std::int64_t of) {
  return of > 0 ? QStringLiteral("%1 \u2013 %2")
                      .arg(formatPercent(interval.low, 0), formatPercent(interval.high, 0))
                : QStringLiteral("\u2013");
}

} // namespace

DeskEnd::DeskEnd(DeskBook& book, QWidget* parent) : QWidget(parent), book_(book) {
  pages_ = new QStackedWidget(this);
  pages_->addWidget(buildSealed());
  pages_->addWidget(buildResult());
  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);
}

QPushButton* DeskEnd::addButton(const QString& words, const QString& tip, QWidget* parent) {
  auto* button = new QPushButton(words, parent);
  button->setToolTip(tip);
  button->setAutoDefault(true); // Return presses it
  return button;
}

QWidget* DeskEnd::buildSealed() {
  auto* page = new QWidget(pages_);
  auto* card =
      new Card(tr("Sealed"), tr("Votes are in; whose the answers were is not known yet"), page);
  sealed_title_ = makeTitle({}, card);
  card->addBody(sealed_title_, 0);
  sealed_text_ = new QLabel(card);
  sealed_text_->setWordWrap(true);
  card->addBody(sealed_text_, 0);
  commitment_ = makeCaption({}, card);
  commitment_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  commitment_->setToolTip(tr("Fixes identities and texts since the desk was made: write it down to "
                             "prove later that nothing was changed"));
  card->addBody(commitment_, 0);
  auto* row = new QHBoxLayout;
  auto* back = addButton(tr("&Back to judging"),
                         tr("Votes can still be changed (Ctrl+Z takes back "
                            "the last one)"),
                         card);
  connect(back, &QPushButton::clicked, this, &DeskEnd::back);
  auto* leave =
      addButton(tr("Leave  Esc"), tr("Back to the start page; everything is kept (Esc)"), card);
  connect(leave, &QPushButton::clicked, this, &DeskEnd::left);
  unseal_ = addButton(tr("&Unseal"),
                      tr("Final: votes are locked and the identities shown (Return)"), card);
  setRole(unseal_, "primary");
  connect(unseal_, &QPushButton::clicked, this, &DeskEnd::unseal);
  row->addStretch(1);
  row->addWidget(leave);
  row->addWidget(back);
  row->addWidget(unseal_);
  card->body()->addLayout(row);
  card->setMaximumWidth(760);
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(space::m, space::m, space::m, space::m);
  column->addStretch(1);
  auto* centred = new QHBoxLayout;
  centred->addStretch(1);
  centred->addWidget(card, 1000);
  centred->addStretch(1);
  column->addLayout(centred);
  column->addStretch(2);
  return page;
}

QWidget* DeskEnd::buildResult() {
  auto* scroll = new QScrollArea(pages_);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  auto* page = new QWidget;
  setRole(page, "clear");
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(space::m, space::m, space::m, space::m);
  column->setSpacing(space::s);

  summary_ = new Card(tr("Result of the blind desk"),
                      tr("Who was preferred, and whether it is more than chance"), page);
  export_ = addButton(tr("E&xport\u2026"),
                      tr("Saves figures, votes, texts and identities as "
                         "Markdown, CSV or JSON (Alt+X)"),
                      summary_);
  connect(export_, &QPushButton::clicked, this, &DeskEnd::askExport);
  auto* again = addButton(tr("&New desk"), tr("Back to the start page (Esc)"), summary_);
  connect(again, &QPushButton::clicked, this, &DeskEnd::left);
  summary_->addTool(export_);
  summary_->addTool(again);
  const auto label = [&](const QString& name) {
    auto* made = new QLabel(summary_);
    made->setWordWrap(true);
    made->setTextFormat(Qt::PlainText);
    made->setTextInteractionFlags(Qt::TextSelectableByMouse);
    made->setAccessibleName(name);
    return made;
  };
  verdict_ = label(tr("Verdict"));
  QFont large = titleFont();
  large.setPointSizeF(large.pointSizeF() * 1.1);
  verdict_->setFont(large);
  power_ = label(tr("What so many votes can show"));
  setRole(power_, "muted");
  notes_ = label(tr("Notes"));
  bars_ = new PreferenceBars(summary_);
  const auto csv = [this] { return bars_->csv(); };
  addPictureMenu(bars_, QStringLiteral("blind-desk"), csv);
  summary_->addTool(makePictureButton(bars_, QStringLiteral("blind-desk"), csv, summary_));
  for (QWidget* widget : {static_cast<QWidget*>(verdict_), static_cast<QWidget*>(bars_),
                          static_cast<QWidget*>(power_), static_cast<QWidget*>(notes_)})
    summary_->addBody(widget, 0);
  figures_model_ = new QStandardItemModel(this);
  figures_ = makeTable(figures_model_, tr("Votes by pair and category"),
                       QStringLiteral("blind-desk-figures"), summary_);
  summary_->addBody(figures_, 0);
  column->addWidget(summary_);

  items_card_ = new Card(tr("Items"), tr("Every item with the models behind A and B"), page);
  items_model_ = new QStandardItemModel(this);
  items_ = makeTable(items_model_, tr("Items"), QStringLiteral("blind-desk-items"), items_card_);
  items_->setMinimumHeight(260);
  items_card_->addBody(items_);
  column->addWidget(items_card_, 1);
  seal_ = makeCaption({}, page);
  seal_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  column->addWidget(seal_);
  scroll->setWidget(page);
  return scroll;
}

// --- state --------------------------------------------------------------------------------------

void DeskEnd::refresh() {
  const Desk* desk = book_.current();
  if (!desk)
    return;
  if (desk->unsealed())
    showResult(*desk);
  else
    showSealed(*desk);
  pages_->setCurrentIndex(desk->unsealed() ? 1 : 0);
  setFocusProxy(desk->unsealed() ? static_cast<QWidget*>(export_) : unseal_);
}

void DeskEnd::showSealed(const Desk& desk) {
  const int open = int(desk.asked()) - int(desk.answered());
  sealed_title_->setText(
      open == 0 ? tr("All %n items are judged", nullptr, int(desk.asked()))
                : tr("%1 of %2 items are judged").arg(desk.answered()).arg(desk.asked()));
  sealed_text_->setText(
      (open == 0 ? QString() : tr("%n items are still open and will not count. ", nullptr, open)) +
      tr("Unsealing shows whose the answers were and what the votes say. It is final: no vote can "
         "be cast or changed afterwards."));
  commitment_->setText(tr("Commitment (SHA-256): %1").arg(text(desk.commitment())));
}

void DeskEnd::showResult(const Desk& desk) {
  const DeskResult result = desk_result(desk);
  const auto& models = desk.models();
  QStringList verdicts, powers, notes;
  for (const DeskPairResult& pair : result.pairs) {
    verdicts << text(pair.verdict);
    powers << text(pair.power);
  }
  powers.removeDuplicates();
  for (const std::string& note : result.notes)
    notes << text(note);
  verdict_->setText(verdicts.join('\n'));
  power_->setText(powers.join('\n'));
  setRole(notes_, desk.tampering().empty() ? "muted" : "error");
  notes_->setText(notes.join('\n'));
  notes_->setVisible(!notes.isEmpty());
  summary_->setReadout(tr("%1 of %2 items judged").arg(desk.answered()).arg(desk.asked()));
  bars_->set(result, models);

  figures_model_->clear();
  figures_model_->setHorizontalHeaderLabels(
      {tr("Pair"), tr("Votes"), tr("Tie"), tr("Both bad"), tr("Identical"), tr("Open"),
       tr("Second preferred"), tr("95 % exact"), tr("95 % Wilson"), tr("Sign test p")});
  const auto row = [&](const QString& name, const DeskCounts& c, const DeskShare& share, double p) {
    figures_model_->appendRow({cell(name),
                               cell(QStringLiteral("%1 : %2").arg(c.first).arg(c.second)),
                               cell(QString::number(c.ties)), cell(QString::number(c.both_bad)),
                               cell(QString::number(c.identical)), cell(QString::number(c.open)),
                               cell(percent(share)), cell(range(share.exact, share.of)),
                               cell(range(share.wilson, share.of)), cell(formatNumber(p, 3))});
  };
  for (const DeskPairResult& pair : result.pairs) {
    row(tr("%1 : %2").arg(text(models[pair.models.a].title), text(models[pair.models.b].title)),
        pair.counts, pair.preferred, pair.p);
    for (const DeskPart& part : pair.categories)
      row(QStringLiteral("    ") +
              (part.category.empty() ? tr("(no category)") : text(part.category)),
          part.counts, part.preferred, sign_test_p(part.counts.first, part.counts.second));
  }
  figures_->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  figures_->horizontalHeader()->setSectionResizeMode(0, QHeaderView::Stretch);
  figures_->setFixedHeight(34 + 26 * std::min(12, figures_model_->rowCount()));

  items_model_->clear();
  items_model_->setHorizontalHeaderLabels(
      {tr("#"), tr("Prompt"), tr("A"), tr("B"), tr("Vote"), tr("Preferred"), tr("Note")});
  for (std::size_t i = 0; i < desk.items().size(); ++i) {
    const DeskItem& item = desk.items()[i];
    const DeskSides sides = *desk.sides(i);
    const Vote vote = desk.vote(i);
    const QString word = item.identical           ? tr("identical")
                         : vote == Vote::a        ? tr("A")
                         : vote == Vote::b        ? tr("B")
                         : vote == Vote::tie      ? tr("tie")
                         : vote == Vote::both_bad ? tr("both bad")
                                                  : tr("not judged");
    const QString preferred = vote == Vote::a   ? text(models[sides.a].title)
                              : vote == Vote::b ? text(models[sides.b].title)
                                                : QString();
    const QString name =
        (item.prompt_id.empty() ? QString() : text(item.prompt_id) + "  ") + oneLine(item.prompt);
    items_model_->appendRow({cell(QString::number(i + 1)), cell(name, text(item.prompt)),
                             cell(text(models[sides.a].title), text(item.a)),
                             cell(text(models[sides.b].title), text(item.b)), cell(word),
                             cell(preferred), cell(text(desk.note(i)))});
  }
  items_->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  items_->horizontalHeader()->setSectionResizeMode(1, QHeaderView::Stretch);
  seal_->setText(tr("Made %1, unsealed %2. Commitment (SHA-256): %3")
                     .arg(text(desk.made()), text(desk.unsealed_at()), text(desk.commitment())));
}

void DeskEnd::unseal() {
  const Desk* desk = book_.current();
  if (!desk || desk->unsealed())
    return;
  book_.change([](Desk& each) { each.unseal(); });
  refresh();
  setFocus();
}

void DeskEnd::undo() {
  bool any = false;
  book_.change([&](Desk& desk) { any = desk.undo().has_value(); });
  if (any)
    Q_EMIT back();
}

bool DeskEnd::exportTo(const QString& path, QString* error) const {
  const Desk* desk = book_.current();
  if (!desk)
    return false;
  const QString ending = QFileInfo(path).suffix().toLower();
  const std::string content = ending == QLatin1String("csv") ? desk_csv(*desk)
                              : ending == QLatin1String("json")
                                  ? desk_report_json(*desk).dump(2) + "\n"
                                  : desk_markdown(*desk);
  QSaveFile file(path);
  const bool written =
      file.open(QIODevice::WriteOnly) &&
      file.write(content.data(), qint64(content.size())) == qint64(content.size()) && file.commit();
  if (!written)
    *error = tr("%1 cannot be written: %2").arg(path, file.errorString());
  return written;
}

void DeskEnd::askExport() {
  auto* dialog = new QFileDialog(this, tr("Export the blind desk"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setNameFilters({tr("Markdown, to read (*.md)"), tr("One line per item (*.csv)"),
                          tr("Everything, for programs (*.json)")});
  dialog->setDefaultSuffix(QStringLiteral("md"));
  connect(dialog, &QFileDialog::filterSelected, dialog, [dialog](const QString& filter) {
    dialog->setDefaultSuffix(filter.contains(QLatin1String("*.csv"))    ? QStringLiteral("csv")
                             : filter.contains(QLatin1String("*.json")) ? QStringLiteral("json")
                                                                        : QStringLiteral("md"));
  });
  dialog->selectFile(QStringLiteral("blind-desk"));
  connect(dialog, &QFileDialog::fileSelected, this, [this](const QString& path) {
    QString error;
    if (exportTo(path, &error))
      book_.say(int(LogLevel::info), tr("Blind desk written to %1").arg(path));
    else
      book_.say(int(LogLevel::error), error);
  });
  dialog->open();
}

bool DeskEnd::event(QEvent* event) {
  if (event->type() == QEvent::ShortcutOverride) { // before the recipe's undo
    const auto* key = static_cast<QKeyEvent*>(event);
    const Desk* desk = book_.current();
    if (key->key() == Qt::Key_Escape ||
        (desk && !desk->unsealed() && key->matches(QKeySequence::Undo)))
      event->accept();
  }
  return QWidget::event(event);
}

void DeskEnd::keyPressEvent(QKeyEvent* event) {
  const Desk* desk = book_.current();
  if (event->key() == Qt::Key_Escape)
    Q_EMIT left();
  else if (desk && !desk->unsealed() && event->matches(QKeySequence::Undo))
    undo();
  else
    QWidget::keyPressEvent(event);
}

} // namespace bitlathe::gui
