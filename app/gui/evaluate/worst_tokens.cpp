// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/worst_tokens.h"

#include "app/gui/compare/generation_runner.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/save_menu.h"
#include "core/text/tokenizer.h"

#include <cmath>
#include <QHeaderView>
#include <QPushButton>
#include <QSplitter>
#include <QTableView>
#include <QTextBrowser>

namespace bitlathe::gui {
namespace {

constexpr std::int64_t shown_before = 100, shown_after = 32;
/// Engines of models up to this size are made on the spot when a token is chosen.
constexpr std::uint64_t quick_bytes = 256u << 20;
constexpr int expected_count = 5;

QString shownPiece(const Checkpoint* source, std::int32_t id) {
  if (!source || !source->tokenizer || id < 0)
    return QString::number(id);
  QString text = pieceText(source->tokenizer->piece(id));
  text.replace('\n', QStringLiteral("\u21b5")).replace('\t', QStringLiteral("\u21e5"));
  return text.startsWith(' ') ? QStringLiteral("\u2423") + text.mid(1) : text;
}

QString probability(double p) {
  return p >= 0.0005 ? formatPercent(p, 1) : p > 0 ? QStringLiteral("<0.1 %") : formatPercent(0);
}

QString html(const std::string& text) {
  return QString::fromUtf8(text.data(), qsizetype(text.size()))
      .toHtmlEscaped()
      .replace('\n', QStringLiteral("<br>"));
}

} // namespace

// --- table --------------------------------------------------------------------------------------

void WorstTokensModel::set(std::vector<WorstToken> tokens,
                           std::shared_ptr<const Checkpoint> source) {
  beginResetModel();
  tokens_ = std::move(tokens);
  source_ = std::move(source);
  endResetModel();
}

int WorstTokensModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : int(tokens_.size());
}

int WorstTokensModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : column_count;
}

QString WorstTokensModel::piece(std::int32_t id) const { return shownPiece(source_.get(), id); }

QVariant WorstTokensModel::data(const QModelIndex& at, int role) const {
  if (!checkIndex(at, CheckIndexOption::IndexIsValid))
    return {};
  const WorstToken& one = tokens_[std::size_t(at.row())];
  if (role == Qt::TextAlignmentRole) {
    const bool right = at.column() == kl || at.column() == before || at.column() == after;
    return int((right ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
  }
  if (role == Qt::ToolTipRole)
    return headerData(at.column(), Qt::Horizontal, role);
  if (role == Qt::ForegroundRole && at.column() == instead &&
      one.reference_top != one.candidate_top)
    return theme().warning;
  if (role != Qt::DisplayRole)
    return {};
  switch (at.column()) {
  case token:
    return piece(one.token);
  case kl:
    return formatNumber(one.kld, 3);
  case before:
    return probability(one.reference_probability);
  case after:
    return probability(one.candidate_probability);
  case expected:
    return piece(one.reference_top);
  case instead:
    return piece(one.candidate_top);
  case place:
    return QStringLiteral("%1:%2").arg(one.window + 1).arg(one.position);
  default:
    return {};
  }
}

QVariant WorstTokensModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section < 0 || section >= column_count)
    return {};
  struct Head {
    QString title, tip;
  };
  const Head heads[column_count] = {
      {tr("Token"), tr("What the text says here")},
      {tr("KL"), tr("Distance of the two distributions at this token, in nats")},
      {tr("Original"), tr("Probability that the original gives to the text's token")},
      {tr("Model"), tr("Probability that the model gives to it")},
      {tr("Original expects"), tr("Likeliest token according to the original")},
      {tr("Model expects"), tr("Likeliest token according to the model")},
      {tr("Where"), tr("Window and token within it")}};
  if (role == Qt::DisplayRole)
    return heads[section].title;
  if (role == Qt::ToolTipRole)
    return heads[section].tip;
  return {};
}

// --- card ---------------------------------------------------------------------------------------

WorstTokensCard::WorstTokensCard(Workbench& workbench, QWidget* parent)
    : Card(tr("Worst tokens"),
           tr("The tokens of the text where the model is farthest from the original. Choose one to "
              "see it in its text"),
           parent),
      workbench_(workbench) {
  expect_ = new QPushButton(tr("What both expect"), this);
  expect_->setToolTip(tr("Runs both models up to this token and shows their likeliest tokens"));
  connect(expect_, &QPushButton::clicked, this, &WorstTokensCard::expect);
  addTool(expect_);
  compare_ = new QPushButton(tr("Open in Compare"), this);
  compare_->setToolTip(tr("Takes the text before this token as a prompt for all models"));
  connect(compare_, &QPushButton::clicked, this, &WorstTokensCard::offer);
  addTool(compare_);
  auto* split = new QSplitter(Qt::Horizontal, this);
  split->setChildrenCollapsible(false);
  split->setHandleWidth(space::s);
  model_ = new WorstTokensModel(this);
  table_ = new QTableView(split);
  table_->setModel(model_);
  table_->setSelectionBehavior(QAbstractItemView::SelectRows);
  table_->setSelectionMode(QAbstractItemView::SingleSelection);
  table_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  table_->setShowGrid(false);
  table_->setFrameShape(QFrame::NoFrame);
  table_->setFont(numberFont());
  table_->setTabKeyNavigation(false);
  table_->setAccessibleName(tr("Worst tokens"));
  table_->setWordWrap(false);
  table_->verticalHeader()->hide();
  table_->verticalHeader()->setDefaultSectionSize(QFontMetrics(numberFont()).height() + 8);
  table_->horizontalHeader()->setHighlightSections(false);
  table_->horizontalHeader()->setSectionResizeMode(QHeaderView::ResizeToContents);
  table_->horizontalHeader()->setStretchLastSection(true);
  addTableMenu(table_, QStringLiteral("worst-tokens"));
  split->addWidget(table_);
  context_ = new QTextBrowser(split);
  context_->setOpenLinks(false);
  context_->setAccessibleName(tr("The token in its text"));
  split->addWidget(context_);
  split->setSizes({1100, 1000});
  addBody(split);
  connect(table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          &WorstTokensCard::rowChosen);
  connect(&Theme::instance(), &Theme::changed, this, &WorstTokensCard::showContext);
  showContext();
}

void WorstTokensCard::set(const Contender& contender, const CompareResult* figures) {
  const std::vector<WorstToken> tokens = figures ? figures->worst : std::vector<WorstToken>();
  const auto& shown = model_->tokens();
  const bool same =
      contender_.checkpoint == contender.checkpoint && tokens.size() == shown.size() &&
      std::equal(tokens.begin(), tokens.end(), shown.begin(), [](const auto& a, const auto& b) {
        return a.window == b.window && a.position == b.position && a.kld == b.kld;
      });
  contender_ = contender;
  if (same)
    return;
  model_->set(tokens, workbench_.checkpoint());
  expected_.reset();
  rowChosen();
}

const WorstToken* WorstTokensCard::chosen() const {
  const int row = table_->currentIndex().row();
  return row >= 0 && row < int(model_->tokens().size()) ? &model_->tokens()[std::size_t(row)]
                                                        : nullptr;
}

void WorstTokensCard::rowChosen() {
  expected_.reset();
  expect_problem_.clear();
  expecting_ = false;
  if (chosen() && (!text_ || text_on_ != workbench_.judgedOn()))
    readText();
  const auto& source = workbench_.checkpoint();
  if (chosen() && source && contender_.checkpoint && text_ && !workbench_.comparing() &&
      source->bytes() + contender_.checkpoint->bytes() <= quick_bytes)
    expect();
  else
    showContext();
}

void WorstTokensCard::readText() {
  const auto source = workbench_.checkpoint();
  if (reading_ || !source)
    return;
  reading_ = true;
  text_.reset();
  text_problem_.clear();
  text_on_ = workbench_.judgedOn();
  workbench_.engine().run<Text>(
      QStringLiteral("worst-text"), tr("Reading the text"), this,
      [source, judged = workbench_.judgedText()](Feedback&, Compute&) -> Result<Text> {
        TRY_ASSIGN(JudgedFile read, read_judged_again(*source, judged));
        return std::make_shared<const JudgedFile>(std::move(read));
      },
      [this, source](Result<Text> read) {
        reading_ = false;
        if (source != workbench_.checkpoint())
          return;
        if (read)
          text_ = *read;
        else
          text_problem_ = QString::fromStdString(read.error().text());
        if (text_)
          rowChosen();
        else
          showContext();
      },
      false);
}

void WorstTokensCard::expect() {
  const WorstToken* token = chosen();
  const auto source = workbench_.checkpoint();
  if (!token || !source || !contender_.checkpoint || !text_ || expecting_)
    return;
  expecting_ = true;
  const Place place{token->window, token->position};
  const bool small = source->bytes() + contender_.checkpoint->bytes() <= quick_bytes;
  workbench_.engine().run<Expected>(
      QStringLiteral("worst-expected"), tr("What both models expect"), this,
      [source, other = contender_.checkpoint, text = text_,
       place](Feedback& feedback, Compute& compute) -> Result<Expected> {
        Expected out;
        {
          TRY_ASSIGN(const auto engine, Engine::create(source, compute));
          TRY_ASSIGN(out.original,
                     expected_at(*engine, text->text, place, expected_count, feedback));
        }
        TRY_ASSIGN(const auto engine, Engine::create(other, compute));
        TRY_ASSIGN(out.model, expected_at(*engine, text->text, place, expected_count, feedback));
        return out;
      },
      [this, place, other = contender_.checkpoint](Result<Expected> found) {
        const WorstToken* now = chosen();
        if (!now || now->window != place.window || now->position != place.position ||
            contender_.checkpoint != other)
          return; // another one was chosen meanwhile
        expecting_ = false;
        if (found)
          expected_ = std::move(*found);
        else if (!found.error().cancelled())
          expect_problem_ = QString::fromStdString(found.error().text());
        showContext();
      },
      !small);
  showContext();
}

void WorstTokensCard::offer() {
  const WorstToken* token = chosen();
  const auto& source = workbench_.checkpoint();
  if (!token || !text_ || !source || !source->tokenizer)
    return;
  const auto around = text_around(*source->tokenizer, text_->text, {token->window, token->position},
                                  token->position, 0);
  if (around)
    workbench_.offerPrompt(QString::fromStdString(around->before));
}

QString WorstTokensCard::expectedHtml() const {
  if (!expected_)
    return {};
  const ThemeColors& c = theme();
  const auto source = workbench_.checkpoint();
  const WorstToken* token = chosen();
  const auto cell = [&](const std::vector<TopToken>& tops, std::size_t i) -> QString {
    if (i >= tops.size())
      return QStringLiteral("<td></td><td></td>");
    QString name = shownPiece(source.get(), tops[i].id).toHtmlEscaped();
    if (token && tops[i].id == token->token)
      name = QStringLiteral("<b>%1</b>").arg(name);
    return QStringLiteral("<td>%1</td><td align=right>%2&nbsp;&nbsp;&nbsp;</td>")
        .arg(name, probability(std::exp(tops[i].logprob)));
  };
  QString out = QStringLiteral("<table cellspacing=2 cellpadding=2><tr>"
                               "<td colspan=2><font color=\"%1\">%2</font></td>"
                               "<td colspan=2><font color=\"%1\">%3</font></td></tr>")
                    .arg(c.muted.name(), tr("The original expects"),
                         tr("%1 expects").arg(contender_.title).toHtmlEscaped());
  for (std::size_t i = 0; i < std::size_t(expected_count); ++i)
    out += QStringLiteral("<tr>%1%2</tr>")
               .arg(cell(expected_->original, i), cell(expected_->model, i));
  return out + QStringLiteral("</table>");
}

void WorstTokensCard::showContext() {
  const ThemeColors& c = theme();
  const WorstToken* token = chosen();
  const auto& source = workbench_.checkpoint();
  const bool readable = token && text_ && source && source->tokenizer;
  const bool stands = readable && stands_at(text_->text, *token);
  compare_->setEnabled(stands);
  expect_->setEnabled(stands && contender_.checkpoint && !expecting_ && !expected_);
  if (model_->tokens().empty() || !token) {
    context_->setHtml(
        QStringLiteral("<p><font color=\"%1\">%2</font></p>")
            .arg(c.muted.name(), model_->tokens().empty()
                                     ? tr("Measure a model against the original to find the tokens "
                                          "where it is farthest off.")
                                     : tr("Choose a token to see it in its text.")));
    return;
  }
  QString out = expectedHtml();
  if (stands) {
    const auto around = text_around(*source->tokenizer, text_->text,
                                    {token->window, token->position}, shown_before, shown_after);
    if (around)
      out += QStringLiteral("<p>%1<span style=\"background-color:%2; color:%3\"><b>%4</b></span>"
                            "<font color=\"%5\">%6</font></p>")
                 .arg(html(around->before), mixed(c.raised, c.outlier, 0.45).name(), c.text.name(),
                      html(around->token), c.muted.name(), html(around->after));
  } else {
    out +=
        QStringLiteral("<p><font color=\"%1\">%2</font></p>")
            .arg(c.warning.name(), (reading_                   ? tr("Reading the text\u2026")
                                    : !text_problem_.isEmpty() ? text_problem_
                                    : !text_ ? tr("Which text was measured on is not known.")
                                             : tr("The text is not the one that was measured on."))
                                       .toHtmlEscaped());
  }
  if (expecting_)
    out += QStringLiteral("<p><font color=\"%1\">%2</font></p>")
               .arg(c.muted.name(), tr("Running both models up to this token\u2026"));
  if (!expect_problem_.isEmpty())
    out += QStringLiteral("<p><font color=\"%1\">%2</font></p>")
               .arg(c.error.name(), expect_problem_.toHtmlEscaped());
  context_->setHtml(out);
}

} // namespace bitlathe::gui
