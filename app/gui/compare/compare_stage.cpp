// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/compare_stage.h"

#include "app/gui/compare/chat_row.h"
#include "app/gui/compare/contender_pane.h"
#include "app/gui/compare/divergence.h"
#include "app/gui/compare/top_tokens.h"
#include "app/gui/evaluate/evidence.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/save_menu.h"
#include "app/gui/widgets/standing_remark.h"

#include <algorithm>
#include <cmath>
#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QDir>
#include <QDoubleSpinBox>
#include <QDragEnterEvent>
#include <QFileDialog>
#include <QFileInfo>
#include <QGridLayout>
#include <QLabel>
#include <QMenu>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSaveFile>
#include <QSplitter>
#include <QStackedWidget>
#include <QToolButton>
#include <QVBoxLayout>

namespace bitlathe::gui {
namespace {

const QString stage_key = QStringLiteral("compare");

QStringList localFiles(const QMimeData* data) {
  QStringList out;
  for (const QUrl& url : data->urls())
    if (url.isLocalFile())
      out << url.toLocalFile();
  return out;
}

} // namespace

CompareStage::CompareStage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), runner_(new GenerationRunner(workbench, this)),
      evidence_(Evidence::of(workbench)) {
  setAcceptDrops(true);
  pages_ = new QStackedWidget(this);
  empty_ = new EmptyState(tr("Two models, one prompt"),
                          tr("Open a checkpoint to write with it. Once it is quantized, the same "
                             "prompt and seed run on both, side by side, and the first token that "
                             "differs is marked."),
                          pages_);
  pages_->addWidget(empty_);

  auto* page = new QWidget(pages_);
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(space::m, space::m, space::m, space::m);
  column->setSpacing(space::s);
  banner_ = new Banner(page);
  column->addWidget(banner_);
  column->addWidget(buildPrompt());

  auto* split = new QSplitter(Qt::Vertical, page);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  panesBox_ = new QWidget(split);
  panesGrid_ = new QGridLayout(panesBox_);
  panesGrid_->setContentsMargins(0, 0, 0, 0);
  panesGrid_->setSpacing(space::s);
  split->addWidget(panesBox_);
  detailCard_ =
      new Card(tr("Likeliest tokens"),
               tr("What every model thought at one position, with probabilities. Hover or "
                  "click a token, or use the arrow keys; D goes to the first difference"),
               split);
  detail_ = new TopTokens(detailCard_);
  const auto csv = [this] { return detail_->csv(); };
  addPictureMenu(detail_, QStringLiteral("likeliest-tokens"), csv);
  detailCard_->addTool(
      makePictureButton(detail_, QStringLiteral("likeliest-tokens"), csv, detailCard_));
  detailCard_->addBody(detail_);
  split->addWidget(detailCard_);
  split->setStretchFactor(0, 1);
  split->setStretchFactor(1, 0);
  column->addWidget(split, 1);
  pages_->addWidget(page);
  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);

  connect(runner_, &GenerationRunner::sideReset, this, [this](int side) {
    if (side >= panes_.size())
      return;
    const Generation& generation = runner_->sides()[side];
    panes_[side]->view()->setTokens({});
    panes_[side]->view()->setPrompt(generation.prompt);
    panes_[side]->setDifference({}, false);
    panes_[side]->show(generation);
  });
  connect(runner_, &GenerationRunner::promptRendered, this, [this](int side) {
    if (side < panes_.size())
      panes_[side]->view()->setPrompt(runner_->sides()[side].rendered);
  });
  connect(runner_, &GenerationRunner::tokensCame, this, [this](int side, qsizetype from) {
    if (side >= panes_.size())
      return;
    panes_[side]->view()->appendTokens(runner_->sides()[side].tokens.mid(from));
    refreshMarks(side, false);
  });
  connect(runner_, &GenerationRunner::sideChanged, this, [this](int side) {
    if (side < panes_.size())
      panes_[side]->show(runner_->sides()[side]);
  });
  connect(runner_, &GenerationRunner::finished, this, &CompareStage::runFinished);

  connect(&workbench_, &Workbench::opened, this, [this] {
    transcripts_.clear();
    restoreState();
    loadDefaultPrompts();
    rebuildPanes();
  });
  connect(&workbench_, &Workbench::contendersChanged, this, &CompareStage::rebuildPanes);
  connect(&workbench_, &Workbench::resultsChanged, this, &CompareStage::refreshButtons);
  connect(&workbench_, &Workbench::recipeChanged, this, &CompareStage::refreshButtons);
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    for (ContenderPane* pane : panes_)
      pane->recolor();
    refreshDetail();
  });
  restoreState();
  loadDefaultPrompts();
  rebuildPanes();
}

// --- controls -----------------------------------------------------------------------------------

QWidget* CompareStage::buildPrompt() {
  auto* card = new QFrame(this);
  setRole(card, "card");
  auto* column = new QVBoxLayout(card);
  column->setContentsMargins(space::m, space::s, space::m, space::s);
  column->setSpacing(space::s);

  auto* pick = new QHBoxLayout;
  pick->setSpacing(space::xs);
  promptBox_ = new QComboBox(card);
  promptBox_->setToolTip(
      tr("Prompts of the loaded set; a tick means both sides gave the same tokens"));
  promptBox_->setAccessibleName(tr("Prompt of the set"));
  promptBox_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  promptBox_->setMinimumContentsLength(24);
  promptBox_->setMaxVisibleItems(24);
  connect(promptBox_, &QComboBox::activated, this, &CompareStage::choosePrompt);
  pick->addWidget(promptBox_, 1);
  const auto arrow = [&](const QString& text, const QString& tip, const QKeySequence& key, int by) {
    auto* button = new QToolButton(card);
    button->setText(text);
    button->setToolTip(tip + QStringLiteral(" (%1)").arg(key.toString(QKeySequence::NativeText)));
    button->setAccessibleName(tip);
    button->setShortcut(key);
    connect(button, &QToolButton::clicked, this, [this, by] { nextPrompt(by); });
    pick->addWidget(button);
  };
  arrow(QStringLiteral("\u2039"), tr("Previous prompt"), QKeySequence(Qt::ALT | Qt::Key_Up), -1);
  arrow(QStringLiteral("\u203a"), tr("Next prompt"), QKeySequence(Qt::ALT | Qt::Key_Down), 1);
  auto* load = new QPushButton(tr("Prompts\u2026"), card);
  load->setToolTip(tr("Loads another set: one JSON object with a \"prompt\" per line (.jsonl)"));
  connect(load, &QPushButton::clicked, this, &CompareStage::askPrompts);
  pick->addWidget(load);
  add_ = new QPushButton(tr("Add checkpoint\u2026"), card);
  add_->setToolTip(tr("Compares with one more model, up to four; a folder or a file can also be "
                      "dropped here"));
  connect(add_, &QPushButton::clicked, this, &CompareStage::addContender);
  pick->addWidget(add_);
  column->addLayout(pick);
  chat_ = new ChatRow(card);
  connect(chat_, &ChatRow::changed, this, &CompareStage::refreshButtons);
  connect(chat_, &ChatRow::changed, this, &CompareStage::keepState);
  column->addWidget(chat_);

  auto* middle = new QHBoxLayout;
  middle->setSpacing(space::s);
  prompt_ = new QPlainTextEdit(card);
  prompt_->setPlaceholderText(tr("Write a prompt, or choose one above"));
  prompt_->setAccessibleName(tr("Prompt"));
  prompt_->setTabChangesFocus(true);
  const int height = QFontMetrics(prompt_->font()).lineSpacing() * 3 + 16;
  prompt_->setFixedHeight(height);
  connect(prompt_, &QPlainTextEdit::textChanged, this, &CompareStage::refreshButtons);
  middle->addWidget(prompt_, 1);
  auto* buttons = new QGridLayout;
  buttons->setSpacing(space::xs + 2);
  run_ = new QPushButton(tr("Generate"), card);
  setRole(run_, "primary");
  run_->setToolTip(tr("Continues the prompt with every model, one after the other (Ctrl+Return)"));
  run_->setShortcut(QKeySequence(Qt::CTRL | Qt::Key_Return));
  connect(run_, &QPushButton::clicked, this, [this] {
    queue_.clear();
    run();
  });
  stop_ = new QPushButton(tr("Stop"), card);
  stop_->setToolTip(tr("Stops after the current token; what was written stays (Esc)"));
  stop_->setShortcut(QKeySequence(Qt::Key_Escape));
  connect(stop_, &QPushButton::clicked, this, &CompareStage::stop);
  runSet_ = new QPushButton(tr("Run set"), card);
  runSet_->setToolTip(tr("Runs every prompt of the set in turn and counts where the models part "
                         "(Ctrl+Shift+Return)"));
  runSet_->setShortcut(QKeySequence(Qt::CTRL | Qt::SHIFT | Qt::Key_Return));
  connect(runSet_, &QPushButton::clicked, this, [this] { runSet(0); });
  transcript_ = new QToolButton(card);
  transcript_->setText(tr("Transcript"));
  transcript_->setToolTip(
      tr("Copies or saves everything generated here since the model was opened"));
  transcript_->setPopupMode(QToolButton::InstantPopup);
  auto* menu = new QMenu(transcript_);
  menu->addAction(tr("Copy as Markdown"), this,
                  [this] { QApplication::clipboard()->setText(transcriptMarkdown(transcripts_)); });
  menu->addAction(tr("Save as Markdown\u2026"), this, [this] { saveTranscript(false); });
  menu->addAction(tr("Save as JSON\u2026"), this, [this] { saveTranscript(true); });
  menu->addSeparator();
  menu->addAction(tr("Forget all"), this, &CompareStage::forget);
  transcript_->setMenu(menu);
  buttons->addWidget(run_, 0, 0);
  buttons->addWidget(stop_, 0, 1);
  buttons->addWidget(runSet_, 1, 0);
  buttons->addWidget(transcript_, 1, 1);
  for (QWidget* widget : std::initializer_list<QWidget*>{run_, stop_, runSet_, transcript_})
    widget->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
  middle->addLayout(buttons);
  column->addLayout(middle);
  column->addWidget(buildSampling());
  return card;
}

QWidget* CompareStage::buildSampling() {
  auto* box = new QWidget(this);
  auto* row = new QHBoxLayout(box);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(space::xs);
  const auto labelled = [&](const QString& text, QWidget* control, const QString& tip) {
    auto* label = new QLabel(text, box);
    label->setFont(smallFont());
    setRole(label, "muted");
    label->setBuddy(control);
    label->setToolTip(tip);
    control->setToolTip(tip);
    control->setAccessibleName(text);
    row->addWidget(label);
    row->addWidget(control);
    row->addSpacing(space::s);
  };
  const auto whole = [&](int low, int high, int value) {
    auto* spin = new QSpinBox(box);
    spin->setRange(low, high);
    spin->setValue(value);
    connect(spin, &QSpinBox::valueChanged, this, &CompareStage::keepState);
    return spin;
  };
  temperature_ = new QDoubleSpinBox(box);
  temperature_->setRange(0, 5);
  temperature_->setSingleStep(0.1);
  temperature_->setSpecialValueText(tr("greedy"));
  connect(temperature_, &QDoubleSpinBox::valueChanged, this, &CompareStage::keepState);
  labelled(tr("Temperature"), temperature_,
           tr("0 takes the likeliest token every time (greedy); higher values draw more freely"));
  topK_ = whole(0, 100000, 0);
  topK_->setSpecialValueText(tr("off"));
  labelled(tr("Top-k"), topK_, tr("Draw among the k likeliest tokens only; off: all"));
  topP_ = new QDoubleSpinBox(box);
  topP_->setRange(0.01, 1);
  topP_->setSingleStep(0.05);
  topP_->setValue(1);
  connect(topP_, &QDoubleSpinBox::valueChanged, this, &CompareStage::keepState);
  labelled(tr("Top-p"), topP_,
           tr("Draw among the likeliest tokens whose probabilities add up to p; 1: all"));
  seed_ = whole(0, 2147483647, 0);
  labelled(tr("Seed"), seed_, tr("Same seed and logits draw the same tokens on every machine"));
  maxNew_ = whole(1, 4096, 64);
  labelled(tr("New tokens"), maxNew_, tr("Stop after this many tokens if the model does not end"));
  shading_ = new QComboBox(box);
  shading_->addItem(tr("Agreement"));
  shading_->addItem(tr("Surprise"));
  shading_->addItem(tr("None"));
  connect(shading_, &QComboBox::currentIndexChanged, this, [this](int index) {
    for (ContenderPane* pane : panes_)
      pane->view()->setShading(TokenView::Shading(index));
  });
  labelled(tr("Shade"), shading_,
           tr("Agreement: green tokens are shared with the original, amber ones are not. Surprise: "
              "the less likely a token was, the stronger its colour"));
  summary_ = new QLabel(box);
  summary_->setFont(smallFont());
  summary_->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  summary_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  row->addWidget(summary_, 1);
  return box;
}

SamplingShown CompareStage::sampling() const {
  return {temperature_->value(), topP_->value(), topK_->value(), maxNew_->value(),
          quint64(seed_->value())};
}

void CompareStage::refreshButtons() {
  const bool busy = running();
  const bool able = !panes_.isEmpty() && !prompt_->toPlainText().trimmed().isEmpty();
  run_->setEnabled(able && !busy);
  runSet_->setEnabled(!panes_.isEmpty() && !prompts_.isEmpty() && !busy);
  stop_->setEnabled(busy);
  transcript_->setEnabled(!transcripts_.isEmpty());
  prompt_->setToolTip(
      chat_->shown().on
          ? tr("A message to every model, put into its own chat template")
          : tr("What every model continues; special-token text is tokenized as plain text"));
  add_->setEnabled(workbench_.contenders().size() < most_contenders && !panes_.isEmpty());
  summary_->setText(setSummary());
  summary_->setToolTip(summary_->text());
  keepSaying(*banner_, workbench_.resultStale(), 1,
             tr("The recipe changed since the quantized side was made. Quantize again to compare "
                "what the recipe says now."));
}

// --- panes --------------------------------------------------------------------------------------

void CompareStage::rebuildPanes() {
  runner_->clear();
  queue_.clear();
  qDeleteAll(panes_);
  panes_.clear();
  while (QLayoutItem* item = panesGrid_->takeAt(0)) {
    delete item->widget();
    delete item;
  }
  const QList<Contender> contenders = workbench_.contenders().mid(0, most_contenders);
  pages_->setCurrentIndex(contenders.isEmpty() ? 0 : 1);
  const int own = workbench_.quantized() ? 2 : 1; // these belong to the window
  for (int i = 0; i < contenders.size(); ++i) {
    auto* pane = new ContenderPane(i, contenders[i], i >= own, panesBox_);
    pane->view()->setShading(TokenView::Shading(shading_->currentIndex()));
    connect(pane, &ContenderPane::removeRequested, this,
            [this](int index) { workbench_.removeContender(index); });
    connect(pane->view(), &TokenView::hovered, this, [this](qsizetype token) {
      under_ = token;
      refreshDetail();
    });
    connect(pane->view(), &TokenView::picked, this, &CompareStage::setCurrent);
    panes_.push_back(pane);
  }
  chat_->setContenders(contenders);
  const int count = int(panes_.size());
  const int across = count == 4 ? 2 : std::max(2, count);
  for (int i = 0; i < count; ++i)
    panesGrid_->addWidget(panes_[i], i / across, i % across);
  if (count == 1) {
    auto* card = new QFrame(panesBox_);
    setRole(card, "card");
    auto* inside = new QVBoxLayout(card);
    auto* other = new EmptyState(
        tr("The other side"),
        tr("Quantize the model to see its continuation here, or add another checkpoint of the same "
           "kind: an export, a GGUF, another size."),
        card);
    other->addAction(tr("Add checkpoint\u2026"), tr("Choose a folder or a file to compare with"),
                     [this] { addContender(); });
    inside->addWidget(other);
    panesGrid_->addWidget(card, 0, 1);
  }
  for (int i = 0; i < 4; ++i)
    panesGrid_->setColumnStretch(i, i < across ? 1 : 0);
  divergences_.fill(-1, count);
  current_ = under_ = -1;
  refreshDetail();
  refreshButtons();
}

void CompareStage::refreshMarks(int side, bool exact) {
  const QList<Generation>& sides = runner_->sides();
  if (sides.isEmpty() || side >= panes_.size())
    return;
  if (side == 0) { // the others are measured against it
    for (int i = 1; i < sides.size(); ++i)
      if (!sides[i].tokens.isEmpty())
        refreshMarks(i, exact);
    return;
  }
  const QList<QByteArray> reference = sides[0].pieces(), candidate = sides[side].pieces();
  const qsizetype at =
      firstDivergence(reference, sides[0].finished(), candidate, sides[side].finished());
  divergences_[side] = at;
  Agreement shared;
  if (exact) {
    shared = agreement(reference, candidate);
  } else {
    shared.candidate.fill(true, candidate.size());
    shared.reference.fill(true, std::min(reference.size(), candidate.size()));
    for (qsizetype i = 0; i < candidate.size(); ++i)
      shared.candidate[i] = i < reference.size() && reference[i] == candidate[i];
    for (qsizetype i = 0; i < shared.reference.size(); ++i)
      shared.reference[i] = reference[i] == candidate[i];
  }
  panes_[side]->view()->setMarks(at, shared.candidate);
  if (side == 1) // the reference shows its agreement with the first candidate
    panes_[0]->view()->setMarks(at, shared.reference);

  const auto word = [](const Generation& g, qsizetype i) {
    return i < g.tokens.size()
               ? QStringLiteral("\u201c%1\u201d").arg(visibleToken(g.tokens[i].text))
               : tr("the end");
  };
  QString text;
  if (candidate.isEmpty())
    text = {};
  else if (at >= 0)
    text = tr("Differs from token %1: %2, not %3")
               .arg(at + 1)
               .arg(word(sides[side], at), word(sides[0], at));
  else
    text = sides[side].finished() && sides[0].finished()
               ? tr("Same tokens as the original, all %1").arg(candidate.size())
               : tr("Same tokens so far");
  if (exact && at >= 0)
    text += tr(" \u00b7 %1 shared").arg(formatPercent(shared.share, 0));
  panes_[side]->setDifference(text, at >= 0);
}

void CompareStage::setCurrent(qsizetype token) {
  current_ = token;
  for (ContenderPane* pane : panes_) {
    pane->view()->setCurrent(token);
    pane->view()->reveal(token);
  }
  refreshDetail();
}

void CompareStage::refreshDetail() {
  const QList<Generation>& sides = runner_->sides();
  const qsizetype at = under_ >= 0 ? under_ : current_;
  QList<TopTokens::Side> shown;
  if (at >= 0)
    for (int i = 0; i < sides.size(); ++i) {
      TopTokens::Side side{sides[i].title, contenderColor(i), at < sides[i].tokens.size(), {}};
      if (side.present)
        side.token = sides[i].tokens[at];
      shown.push_back(side);
    }
  detail_->set(shown, tr("Hover or click a token to see what every model thought there"));
  if (at < 0) {
    detailCard_->setReadout({});
    return;
  }
  QString before;
  for (qsizetype i = std::max<qsizetype>(0, at - 8); i < at && !sides.isEmpty(); ++i)
    if (i < sides[0].tokens.size())
      before += sides[0].tokens[i].text;
  const bool first = std::find(divergences_.begin(), divergences_.end(), at) != divergences_.end();
  detailCard_->setReadout(
      tr("token %1%2, after \u201c\u2026%3\u201d")
          .arg(at + 1)
          .arg(first ? tr(" (first difference)") : QString(), before.simplified()));
}

// --- running ------------------------------------------------------------------------------------

void CompareStage::setPrompt(const QString& prompt) { prompt_->setPlainText(prompt); }
void CompareStage::setMaxNew(int tokens) { maxNew_->setValue(tokens); }
void CompareStage::setChat(bool on, const QString& system) { chat_->set(on, system); }

void CompareStage::run() {
  const QList<Contender> contenders = workbench_.contenders().mid(0, most_contenders);
  if (contenders.isEmpty() || prompt_->toPlainText().isEmpty())
    return;
  divergences_.fill(-1, contenders.size());
  current_ = under_ = -1;
  constexpr int alternatives = 6;
  ran_ = chat_->shown();
  runner_->start(contenders, prompt_->toPlainText(), sampling(), alternatives, ran_);
  refreshDetail();
  refreshButtons();
  keepState();
}

void CompareStage::runSet(int prompts) {
  if (prompts_.isEmpty() || panes_.isEmpty())
    return;
  queue_.clear();
  const int count =
      prompts > 0 ? std::min<int>(prompts, int(prompts_.size())) : int(prompts_.size());
  for (int i = 1; i < count; ++i)
    queue_.push_back(i);
  choosePrompt(0);
  run();
}

void CompareStage::stop() {
  queue_.clear();
  runner_->stop();
  refreshButtons();
}

void CompareStage::runFinished() {
  const QList<Generation>& sides = runner_->sides();
  refreshMarks(0, true);
  qsizetype first = -1;
  for (const qsizetype at : divergences_)
    if (at >= 0 && (first < 0 || at < first))
      first = at;
  bool any = false;
  for (const Generation& side : sides)
    any = any || !side.tokens.isEmpty();
  if (any) {
    setCurrent(first >= 0 ? first : closestCall());
    Transcript transcript;
    transcript.model = QString::fromStdString(workbench_.checkpoint()->name);
    transcript.prompt = sides.first().prompt;
    transcript.chat = ran_;
    transcript.sampling = sampling();
    transcript.sides = sides;
    transcripts_.removeIf([&](const Transcript& old) {
      return old.prompt == transcript.prompt && old.chat == transcript.chat;
    });
    transcripts_.push_back(transcript);
  }
  const bool complete = sides.size() > 1 && sides[0].finished() && sides[1].finished();
  if (complete) {
    for (int i = 0; i < prompts_.size(); ++i)
      if (prompts_[i].text == sides[0].prompt)
        promptBox_->setItemText(
            i, (divergences_[1] < 0 ? QStringLiteral("\u2713  ") : QStringLiteral("\u2260  ")) +
                   promptTitle(prompts_[i]));
    if (workbench_.quantized())
      evidence_->promptCompared(sides[0].prompt, divergences_[1] < 0);
  }
  if (!queue_.isEmpty()) {
    choosePrompt(queue_.takeFirst());
    run();
  }
  refreshButtons();
}

/// Where the last contender was least sure of what it took; -1 without probabilities.
qsizetype CompareStage::closestCall() const {
  const QList<ShownToken>& tokens = runner_->sides().last().tokens;
  qsizetype at = -1;
  for (qsizetype i = 0; i < tokens.size(); ++i)
    if (tokens[i].hasLogprob && (at < 0 || tokens[i].logprob < tokens[at].logprob))
      at = i;
  return at;
}

QString CompareStage::setSummary() const {
  int compared = 0, same = 0;
  QList<qsizetype> places;
  for (const Transcript& t : transcripts_) {
    if (t.sides.size() < 2 || !t.sides[0].finished() || !t.sides[1].finished())
      continue;
    ++compared;
    const qsizetype at = firstDivergence(t.sides[0].pieces(), true, t.sides[1].pieces(), true);
    if (at < 0)
      ++same;
    else
      places.push_back(at + 1);
  }
  if (compared == 0)
    return {};
  QString text = tr("%1 of %2 prompts the same").arg(same).arg(compared);
  if (!places.isEmpty()) {
    std::sort(places.begin(), places.end());
    text += tr("; median first difference: token %1").arg(places[places.size() / 2]);
  }
  return text;
}

// --- prompts, checkpoints, transcripts ----------------------------------------------------------

void CompareStage::loadDefaultPrompts() {
  if (!workbench_.checkpoint() || !promptsName_.isEmpty())
    return;
  const QString folder = QString::fromStdString(workbench_.checkpoint()->path.string());
  for (const QString& path : {QDir(folder).filePath(QStringLiteral("prompts.jsonl")),
                              QFileInfo(folder).dir().filePath(QStringLiteral("prompts.jsonl")),
                              QDir(demoModelPath()).filePath(QStringLiteral("prompts.jsonl"))})
    if (QFileInfo::exists(path)) {
      loadPrompts(path);
      return;
    }
}

void CompareStage::loadPrompts(const QString& path) {
  workbench_.engine().run<QList<Prompt>>(
      QStringLiteral("prompts"), tr("Reading prompts"), this,
      [path](Feedback&, Compute&) { return readPrompts(path); },
      [this, path](Result<QList<Prompt>> read) {
        if (!read.ok()) {
          if (!read.error().cancelled())
            banner_->say(2, QString::fromStdString(read.error().text()));
          return;
        }
        prompts_ = *read;
        promptsName_ = path;
        promptBox_->clear();
        for (const Prompt& prompt : prompts_)
          promptBox_->addItem(promptTitle(prompt));
        promptBox_->setCurrentIndex(-1);
        promptBox_->setPlaceholderText(
            tr("%1 prompts from %2").arg(prompts_.size()).arg(QFileInfo(path).fileName()));
        if (prompt_->toPlainText().isEmpty())
          choosePrompt(0);
        const int wanted = std::exchange(setWanted_, -1);
        if (wanted >= 0)
          runBackwards(wanted);
        refreshButtons();
      },
      false);
}

void CompareStage::rehearse(int prompts) {
  if (prompts_.isEmpty())
    setWanted_ = prompts; // when the set has been read
  else
    runBackwards(prompts);
}

/// So that the first prompt is the one that stays in view.
void CompareStage::runBackwards(int prompts) {
  const int count = std::min<int>(prompts, int(prompts_.size()));
  if (count == 0 || panes_.isEmpty())
    return;
  queue_.clear();
  for (int i = count - 2; i >= 0; --i)
    queue_.push_back(i);
  choosePrompt(count - 1);
  run();
}

void CompareStage::choosePrompt(int index) {
  if (index < 0 || index >= prompts_.size())
    return;
  promptBox_->setCurrentIndex(index);
  setPrompt(prompts_[index].text);
}

void CompareStage::nextPrompt(int by) {
  if (prompts_.isEmpty())
    return;
  const int count = int(prompts_.size());
  choosePrompt((promptBox_->currentIndex() + by + count) % count);
}

void CompareStage::askPrompts() {
  auto* dialog = new QFileDialog(this, tr("Load prompts"), QFileInfo(promptsName_).absolutePath(),
                                 tr("Prompt sets (*.jsonl);;All files (*)"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setFileMode(QFileDialog::ExistingFile);
  connect(dialog, &QFileDialog::fileSelected, this, &CompareStage::loadPrompts);
  dialog->open();
}

void CompareStage::addContender() {
  auto* menu = new QMenu(this);
  menu->setAttribute(Qt::WA_DeleteOnClose);
  const auto ask = [this](QFileDialog::FileMode mode) {
    auto* dialog = new QFileDialog(this, tr("Add checkpoint"));
    dialog->setAttribute(Qt::WA_DeleteOnClose);
    dialog->setFileMode(mode);
    if (mode == QFileDialog::Directory)
      dialog->setOption(QFileDialog::ShowDirsOnly);
    else
      dialog->setNameFilter(tr("Checkpoints (*.gguf *.safetensors);;All files (*)"));
    connect(dialog, &QFileDialog::fileSelected, this,
            [this](const QString& path) { workbench_.addContender(path); });
    dialog->open();
  };
  menu->addAction(tr("Folder\u2026"), this, [ask] { ask(QFileDialog::Directory); });
  menu->addAction(tr("File\u2026"), this, [ask] { ask(QFileDialog::ExistingFile); });
  menu->popup(add_->mapToGlobal(QPoint(0, add_->height())));
}

void CompareStage::dragEnterEvent(QDragEnterEvent* event) {
  if (!panes_.isEmpty() && workbench_.contenders().size() < most_contenders &&
      !localFiles(event->mimeData()).isEmpty())
    event->acceptProposedAction();
}

void CompareStage::dropEvent(QDropEvent* event) {
  for (const QString& path : localFiles(event->mimeData())) {
    if (path.endsWith(QStringLiteral(".jsonl")))
      loadPrompts(path);
    else
      workbench_.addContender(path);
  }
  event->acceptProposedAction();
}

void CompareStage::saveTranscript(bool json) {
  auto* dialog = new QFileDialog(this, tr("Save transcript"));
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setNameFilter(json ? tr("JSON (*.json)") : tr("Markdown (*.md)"));
  dialog->setDefaultSuffix(json ? QStringLiteral("json") : QStringLiteral("md"));
  dialog->selectFile(QStringLiteral("transcript.") + dialog->defaultSuffix());
  connect(dialog, &QFileDialog::fileSelected, this, [this, json](const QString& path) {
    const QByteArray text =
        json ? transcriptJson(transcripts_) : transcriptMarkdown(transcripts_).toUtf8();
    QSaveFile file(path);
    if (!file.open(QIODevice::WriteOnly) || file.write(text) != text.size() || !file.commit())
      banner_->say(2, tr("Cannot write %1: %2").arg(path, file.errorString()));
  });
  dialog->open();
}

void CompareStage::forget() {
  transcripts_.clear();
  for (int i = 0; i < prompts_.size(); ++i)
    promptBox_->setItemText(i, promptTitle(prompts_[i]));
  refreshButtons();
}

// --- session ------------------------------------------------------------------------------------

void CompareStage::keepState() {
  if (restoring_ || !workbench_.checkpoint())
    return;
  const SamplingShown s = sampling();
  workbench_.setStageState(stage_key, {{"prompt", prompt_->toPlainText().toStdString()},
                                       {"chat", chat_->wanted()},
                                       {"system", chat_->system().toStdString()},
                                       {"prompts", promptsName_.toStdString()},
                                       {"temperature", s.temperature},
                                       {"top_k", s.topK},
                                       {"top_p", s.topP},
                                       {"seed", s.seed},
                                       {"max_new", s.maxNew}});
}

void CompareStage::restoreState() {
  const Json kept = workbench_.stageState(stage_key);
  promptsName_.clear();
  prompts_.clear();
  promptBox_->clear();
  if (!kept.is_object())
    return;
  restoring_ = true;
  const auto text = [&](const char* key) {
    const auto it = kept.find(key);
    return it != kept.end() && it->is_string() ? QString::fromStdString(it->get<std::string>())
                                               : QString();
  };
  const auto number = [&](const char* key, double otherwise) {
    const auto it = kept.find(key);
    return it != kept.end() && it->is_number() ? it->get<double>() : otherwise;
  };
  setPrompt(text("prompt"));
  const auto chat = kept.find("chat");
  setChat(chat != kept.end() && chat->is_boolean() && chat->get<bool>(), text("system"));
  temperature_->setValue(number("temperature", 0));
  topK_->setValue(int(number("top_k", 0)));
  topP_->setValue(number("top_p", 1));
  seed_->setValue(int(number("seed", 0)));
  maxNew_->setValue(int(number("max_new", 64)));
  if (const QString path = text("prompts"); QFileInfo::exists(path)) {
    promptsName_ = path;
    loadPrompts(path);
  }
  restoring_ = false;
}

} // namespace bitlathe::gui
