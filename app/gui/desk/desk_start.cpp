// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/desk/desk_start.h"

#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/empty_state.h"
#include "core/judge/binomial.h"

#include <algorithm>
#include <QCheckBox>
#include <QComboBox>
#include <QDateTime>
#include <QFormLayout>
#include <QLabel>
#include <QListWidget>
#include <QMessageBox>
#include <QPushButton>
#include <QRandomGenerator>
#include <QSpinBox>
#include <QStackedWidget>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

constexpr int most_models = 4;

/// As high as its rows, within bounds.
void fitRows(QListWidget* list) {
  const int row = std::max(list->sizeHintForRow(0), QFontMetrics(list->font()).height() + 2);
  list->setFixedHeight(std::clamp(list->count(), 2, 6) * row + space::m);
}

QString localTime(const std::string& utc) {
  const auto time = QDateTime::fromString(QString::fromStdString(utc), Qt::ISODate);
  return time.isValid() ? time.toLocalTime().toString(QStringLiteral("yyyy-MM-dd hh:mm"))
                        : QString::fromStdString(utc);
}

int freshSeed() { return int(QRandomGenerator::global()->bounded(1000000)); }

} // namespace

DeskStart::DeskStart(DeskBook& book, QWidget* parent) : QWidget(parent), book_(book) {
  top_ = new QStackedWidget(this);
  empty_ = new EmptyState(
      tr("Which one reads better, not knowing which is which?"),
      tr("Run a set of prompts on two or more models first: the original and what was made of it. "
         "Their answers are then laid out here in pairs, shuffled and without names; you vote, and "
         "only at the end you see whose they were and whether the difference is more than chance."),
      top_);
  top_->addWidget(empty_);
  top_->addWidget(buildForm());
  auto* column = new QVBoxLayout;
  column->setSpacing(space::s);
  column->addWidget(top_, 1);
  column->addWidget(buildDesks());
  for (QWidget* part : {static_cast<QWidget*>(top_), static_cast<QWidget*>(desks_card_)})
    part->setMaximumWidth(900); // a form is not read across a wide window
  auto* centred = new QHBoxLayout(this);
  centred->setContentsMargins(space::m, space::m, space::m, space::m);
  centred->addStretch(1);
  centred->addLayout(column, 1000);
  centred->addStretch(1);
  refresh();
}

QWidget* DeskStart::buildForm() {
  auto* card = new Card(tr("Blind desk"),
                        tr("Answers of two models side by side, shuffled and without names; the "
                           "identities are sealed until you ask for them"),
                        top_);
  card->addBody(makeCaption(tr("Answers are taken from the prompts that were run in this session. "
                               "Each item shows a prompt and two answers, A and B. Who wrote them "
                               "stays sealed until the end."),
                            card),
                0);
  auto* body = new QWidget(card);
  auto* form = new QFormLayout(body);
  form->setContentsMargins(0, space::s, 0, 0);
  form->setHorizontalSpacing(space::l);
  form->setVerticalSpacing(space::s);
  form->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
  models_ = new QListWidget(body);
  models_->setAccessibleName(tr("Models"));
  models_->setToolTip(tr("Two to four models that answered the prompts; Space ticks one"));
  connect(models_, &QListWidget::itemChanged, this, &DeskStart::showChoice);
  connect(models_, &QListWidget::itemActivated, this, &DeskStart::begin);
  form->addRow(tr("&Models"), models_);
  reference_ = new QComboBox(body);
  reference_->setAccessibleName(tr("Reference"));
  reference_->setToolTip(tr("The model that each of the others is held against"));
  connect(reference_, &QComboBox::currentIndexChanged, this, &DeskStart::showChoice);
  form->addRow(tr("&Reference"), reference_);
  all_pairs_ = new QCheckBox(tr("Every pair of models, not only with the reference"), body);
  all_pairs_->setToolTip(tr("Three models make three pairs instead of two, four make six instead "
                            "of three: more votes, and candidates are compared with each other"));
  connect(all_pairs_, &QCheckBox::toggled, this, &DeskStart::showChoice);
  form->addRow(QString(), all_pairs_);
  prompts_ = new QSpinBox(body);
  prompts_->setAccessibleName(tr("Prompts"));
  prompts_->setToolTip(tr("How many prompts; fewer than there are get drawn by the seed"));
  connect(prompts_, &QSpinBox::valueChanged, this, &DeskStart::showChoice);
  form->addRow(tr("&Prompts"), prompts_);
  seed_ = new QSpinBox(body);
  seed_->setRange(0, 999999999);
  seed_->setValue(freshSeed());
  seed_->setAccessibleName(tr("Seed"));
  seed_->setToolTip(tr("Shuffles the items. Which side a model stands on also depends on a secret "
                       "number that is shown after unsealing, so that knowing the seed does not "
                       "tell"));
  connect(seed_, &QSpinBox::valueChanged, this, &DeskStart::showChoice);
  form->addRow(tr("S&eed"), seed_);
  card->addBody(body, 0);
  summary_ = new QLabel(card);
  summary_->setWordWrap(true);
  summary_->setAccessibleName(tr("What the desk will ask"));
  card->addBody(summary_, 0);
  problem_ = new QLabel(card);
  problem_->setWordWrap(true);
  setRole(problem_, "warning");
  card->addBody(problem_, 0);
  begin_ = new QPushButton(tr("&Begin"), card);
  setRole(begin_, "primary");
  begin_->setToolTip(tr("Shuffles, seals and asks the first item (Ctrl+Return)"));
  begin_->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_Return));
  begin_->setAutoDefault(true);
  connect(begin_, &QPushButton::clicked, this, &DeskStart::begin);
  auto* row = new QHBoxLayout;
  row->addStretch(1);
  row->addWidget(begin_);
  card->body()->addLayout(row);
  card->body()->addStretch(1);
  card->setFocusProxy(begin_);
  return card;
}

QWidget* DeskStart::buildDesks() {
  desks_card_ = new Card(tr("Desks of this session"),
                         tr("Desks that were begun; votes are kept as they are cast"), this);
  desks_ = new QListWidget(desks_card_);
  desks_->setAccessibleName(tr("Desks of this session"));
  desks_->setToolTip(tr("Return opens one: to go on voting, or to see its result"));
  connect(desks_, &QListWidget::itemActivated, this,
          [this](QListWidgetItem* item) { openDesk(desks_->row(item)); });
  connect(desks_, &QListWidget::currentRowChanged, this, [this](int row) {
    open_->setEnabled(row >= 0);
    remove_->setEnabled(row >= 0);
  });
  desks_card_->addBody(desks_);
  open_ = new QPushButton(tr("&Open"), desks_card_);
  open_->setToolTip(tr("Goes on where the desk was left, or shows its result"));
  connect(open_, &QPushButton::clicked, this, [this] { openDesk(desks_->currentRow()); });
  remove_ = new QPushButton(tr("&Discard"), desks_card_);
  remove_->setToolTip(tr("Removes the desk and its votes from the session"));
  connect(remove_, &QPushButton::clicked, this, &DeskStart::discard);
  auto* row = new QHBoxLayout;
  row->addStretch(1);
  row->addWidget(remove_);
  row->addWidget(open_);
  desks_card_->body()->addLayout(row);
  desks_card_->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  return desks_card_;
}

void DeskStart::refresh() {
  material_ = book_.material();
  const bool any = material_.models.size() >= 2;
  top_->setCurrentIndex(any ? 1 : 0);
  {
    const QSignalBlocker quiet[] = {QSignalBlocker(models_), QSignalBlocker(reference_),
                                    QSignalBlocker(prompts_)};
    QStringList checked, titles;
    for (int i = 0; i < models_->count(); ++i)
      if (models_->item(i)->checkState() == Qt::Checked)
        checked << models_->item(i)->data(Qt::UserRole).toString();
    const QString reference = reference_->currentData().toString();
    const int asked = prompts_->value();
    const bool all = asked == prompts_->maximum();
    models_->clear();
    reference_->clear();
    // Chosen before, else what stands in the comparison now, else the first two.
    if (checked.isEmpty())
      for (const Contender& contender : book_.contenders())
        checked << QString::fromStdString(contender.checkpoint->path.string());
    int ticks = 0;
    for (const DeskModel& model : material_.models) {
      const QString path = QString::fromStdString(model.path);
      auto* item = new QListWidgetItem(QString::fromStdString(model.title), models_);
      item->setToolTip(path);
      item->setData(Qt::UserRole, path);
      item->setFlags(item->flags() | Qt::ItemIsUserCheckable);
      const bool tick = ticks < most_models && checked.contains(path);
      ticks += tick;
      item->setCheckState(tick ? Qt::Checked : Qt::Unchecked);
      reference_->addItem(item->text(), path);
    }
    for (int i = 0; ticks < 2 && i < models_->count(); ++i)
      if (models_->item(i)->checkState() == Qt::Unchecked) {
        models_->item(i)->setCheckState(Qt::Checked);
        ++ticks;
      }
    const QString original =
        book_.checkpoint() ? QString::fromStdString(book_.checkpoint()->path.string()) : QString();
    const int before = reference_->findData(reference);
    reference_->setCurrentIndex(std::max(0, before >= 0 ? before : reference_->findData(original)));
    prompts_->setRange(1, std::max(1, int(material_.prompts.size())));
    prompts_->setValue(all || asked < 1 ? prompts_->maximum() : asked);
    if (models_->currentRow() < 0 && models_->count() > 0)
      models_->setCurrentRow(0);
  }
  fitRows(models_);
  showChoice();
  showDesks();
  setFocusProxy(any                      ? static_cast<QWidget*>(begin_)
                : !book_.desks().empty() ? static_cast<QWidget*>(desks_)
                                         : nullptr);
}

DeskOptions DeskStart::options() const {
  DeskOptions out;
  for (int i = 0; i < models_->count(); ++i)
    if (models_->item(i)->checkState() == Qt::Checked) {
      const auto at = i == reference_->currentIndex() ? out.models.begin() : out.models.end();
      out.models.insert(at, std::size_t(i));
    }
  out.all_pairs = all_pairs_->isChecked();
  out.prompts = std::size_t(prompts_->value());
  out.seed = std::uint64_t(seed_->value());
  return out;
}

void DeskStart::showChoice() {
  const DeskOptions chosen = options();
  all_pairs_->setEnabled(chosen.models.size() > 2);
  const auto desk = Desk::make(material_, chosen);
  begin_->setEnabled(desk.ok());
  if (!desk) {
    problem_->setText(QString::fromStdString(desk.error().message));
    summary_->clear();
    problem_->show();
    summary_->hide();
    return;
  }
  const auto asked = std::int64_t(desk->asked());
  QString text = tr("%n items to judge.", nullptr, int(asked));
  if (const auto same = int(desk->items().size()) - int(asked); same > 0)
    text += ' ' + tr("%n more have the same text on both sides: they are not asked and count as "
                     "ties.",
                     nullptr, same);
  const std::size_t pairs = desk->items().empty() ? 0
                            : chosen.all_pairs
                                ? chosen.models.size() * (chosen.models.size() - 1) / 2
                                : chosen.models.size() - 1;
  const std::int64_t each = pairs ? asked / std::int64_t(pairs) : 0;
  if (const auto needed = votes_to_show(each); needed > 0)
    text += ' ' + tr("If every vote is decided, a difference shows when one side gets %1 of %2.")
                      .arg(needed)
                      .arg(each);
  else
    text += ' ' + tr("Fewer than six votes for a pair cannot show a difference.");
  summary_->setText(text);
  summary_->show();
  QStringList notes;
  for (const std::string& note : desk->notes())
    notes << QString::fromStdString(note);
  problem_->setText(notes.join('\n'));
  problem_->setVisible(!notes.isEmpty());
}

void DeskStart::showDesks() {
  desks_->clear();
  for (auto desk = book_.desks().rbegin(); desk != book_.desks().rend(); ++desk) {
    QString text = tr("%1: %2 of %3 judged")
                       .arg(localTime(desk->made()))
                       .arg(desk->answered())
                       .arg(desk->asked());
    text += desk->unsealed() ? tr(", unsealed") : tr(", sealed");
    if (desk->unsealed()) {
      QStringList names;
      for (const DeskModel& model : desk->models())
        names << QString::fromStdString(model.title);
      text += QStringLiteral(" \u2013 ") + names.join(tr(" against "));
    }
    if (!desk->tampering().empty())
      text += QStringLiteral(" \u2013 ") + tr("does not fit its commitment");
    desks_->addItem(text);
  }
  fitRows(desks_);
  desks_card_->setVisible(desks_->count() > 0);
  desks_->setCurrentRow(desks_->count() > 0 ? 0 : -1);
}

void DeskStart::begin() {
  auto desk = Desk::make(material_, options());
  if (!desk)
    return;
  book_.add(std::move(*desk));
  seed_->setValue(freshSeed()); // of the next one
  Q_EMIT opened();
}

void DeskStart::discard() {
  const int row = desks_->currentRow();
  if (row < 0)
    return;
  const std::size_t index = book_.desks().size() - 1 - std::size_t(row);
  const auto remove = [this, index] {
    book_.remove(index);
    refresh();
  };
  if (book_.desks()[index].answered() == 0) {
    remove();
    return;
  }
  auto* box = new QMessageBox(
      QMessageBox::Question, tr("Discard the desk"),
      tr("Remove this desk with its %n votes from the session? This cannot be undone.", nullptr,
         int(book_.desks()[index].answered())),
      QMessageBox::Yes | QMessageBox::Cancel, this);
  box->setAttribute(Qt::WA_DeleteOnClose);
  connect(box, &QMessageBox::finished, this, [remove](int answer) {
    if (answer == QMessageBox::Yes)
      remove();
  });
  box->open();
}

void DeskStart::openDesk(int row) {
  if (row < 0 || std::size_t(row) >= book_.desks().size())
    return;
  book_.choose(book_.desks().size() - 1 - std::size_t(row));
  Q_EMIT opened();
}

} // namespace bitlathe::gui
