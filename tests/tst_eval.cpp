// SPDX-License-Identifier: GPL-3.0-or-later
// Perplexity and comparison: against slow sums over made-up logits, and on the demo model against
// figures of the independent reference (tests/reference/evaluate.py).
#include "core/eval/breakdown.h"
#include "core/eval/eval.h"
#include "core/eval/places.h"
#include "core/methods/method.h"
#include "core/text/tokenizer.h"
#include "tests/tiny_model.h"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <QTest>
#include <set>

using namespace bitlathe;
using Ids = std::vector<std::int32_t>;

namespace {

/// One token per byte below `size`; spelled by `spelling`.
class FakeTokenizer final : public Tokenizer {
 public:
  FakeTokenizer(std::int64_t size, std::int32_t bos, std::string spelling = "t")
      : size_(size), bos_(bos), spelling_(std::move(spelling)) {}
  Ids encode(std::string_view text, const EncodeOptions& options) const override {
    Ids out;
    if (options.add_special && bos_ >= 0)
      out.push_back(bos_);
    for (const char c : text)
      out.push_back(std::int32_t(static_cast<unsigned char>(c)) % std::int32_t(size_));
    return out;
  }
  std::string decode(std::span<const std::int32_t>, bool) const override { return {}; }
  std::string piece(std::int32_t) const override { return {}; }
  std::string kind() const override { return "fake"; }
  std::int64_t vocab_size() const override { return size_; }
  std::string token(std::int32_t id) const override { return spelling_ + std::to_string(id); }
  TokenKind token_kind(std::int32_t id) const override {
    return id == bos_ ? TokenKind::control : TokenKind::normal;
  }
  std::int32_t bos() const override { return bos_; }
  std::int32_t eos() const override { return -1; }
  std::int32_t unk() const override { return -1; }
  std::int32_t pad() const override { return -1; }
  bool adds_bos() const override { return bos_ >= 0; }
  bool adds_eos() const override { return false; }
  std::string chat_template() const override { return {}; }
  Result<GgufMetadata> to_gguf(std::int64_t) const override { return GgufMetadata(); }

 private:
  std::int64_t size_;
  std::int32_t bos_;
  std::string spelling_;
};

class FakeSequence final : public Sequence {
 public:
  std::int64_t length() const override { return std::int64_t(ids.size()); }
  void clear() override { ids.clear(); }
  std::uint64_t bytes() const override { return 0; }
  Ids ids;
};

/// Logits that are a known function of everything before them.
class FakeEngine final : public Engine {
 public:
  FakeEngine(std::int64_t rows, std::int64_t tokens, std::int32_t bos, double scale,
             std::string spelling = "t")
      : scale_(scale) {
    auto checkpoint = std::make_shared<Checkpoint>();
    checkpoint->path = "fake";
    checkpoint->name = "fake";
    checkpoint->tokenizer = std::make_shared<FakeTokenizer>(tokens, bos, std::move(spelling));
    checkpoint->spec = ModelSpec();
    checkpoint->spec->vocab = rows;
    checkpoint->spec->context = 16;
    checkpoint_ = checkpoint;
  }

  std::vector<float> logits(std::span<const std::int32_t> before) const {
    std::uint32_t hash = 17;
    for (const auto id : before)
      hash = hash * 31 + std::uint32_t(id);
    auto out = test::normal_noise(std::size_t(spec().vocab), hash, 2.0f);
    for (std::size_t i = 0; i < out.size(); ++i) // models that differ by `scale`
      out[i] = float(double(out[i]) * scale_) + float(i % 3) * float(scale_ - 1);
    if (std::int64_t(before.size()) == nan_at)
      out[3] = std::nanf("");
    return out;
  }

  const ModelSpec& spec() const override { return *checkpoint_->spec; }
  const Checkpoint& checkpoint() const override { return *checkpoint_; }
  std::vector<std::string> notes() const override { return {}; }
  std::uint64_t weight_bytes() const override { return 0; }
  Result<std::unique_ptr<Sequence>> new_sequence(std::int64_t) override {
    return std::unique_ptr<Sequence>(std::make_unique<FakeSequence>());
  }
  Result<void> forward(Sequence& sequence, std::span<const std::int32_t> ids,
                       std::int64_t first_wanted, const LogitSink& sink,
                       const Feedback* feedback) override {
    if (feedback && feedback->stopped())
      return cancelled_error();
    auto& state = static_cast<FakeSequence&>(sequence);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      state.ids.push_back(ids[i]);
      if (std::int64_t(i) >= first_wanted)
        TRY(sink(std::int64_t(i), logits(state.ids)));
    }
    return {};
  }

  std::int64_t nan_at = -1;

 private:
  std::shared_ptr<const Checkpoint> checkpoint_;
  double scale_;
};

std::vector<double> softmax(const std::vector<float>& logits) {
  std::vector<double> out;
  double total = 0;
  for (const float x : logits)
    total += std::exp(double(x));
  for (const float x : logits)
    out.push_back(std::exp(double(x)) / total);
  return out;
}

/// The windows by the rule, written down once more.
std::vector<Ids> windows(const EvalText& text, std::int32_t bos) {
  std::vector<Ids> out;
  for (std::size_t at = 0; at + std::size_t(text.context) <= text.ids.size();
       at += std::size_t(text.context)) {
    out.emplace_back(text.ids.begin() + std::ptrdiff_t(at),
                     text.ids.begin() + std::ptrdiff_t(at) + text.context);
    if (bos >= 0)
      out.back()[0] = bos;
    if (text.chunks && out.size() == std::size_t(text.chunks))
      break;
  }
  return out;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool near(double got, double want, double relative) {
  const bool ok = std::abs(got - want) <= relative * std::abs(want);
  if (!ok)
    qWarning("got %.10g, want %.10g", got, want);
  return ok;
}

} // namespace

class TestEval : public QObject {
  Q_OBJECT
  std::unique_ptr<Compute> compute_;
  Feedback feedback_;

  /// The demo model with the linears of its blocks coded by rtn.
  std::shared_ptr<const Checkpoint> quantized_demo(const std::string& scheme_id) {
    auto opened = open_checkpoint(test::demo_model());
    const auto scheme = parse_scheme(scheme_id);
    const Method* rtn = find_method("rtn");
    if (!opened || !scheme || !rtn)
      return nullptr;
    const auto checkpoint = std::const_pointer_cast<Checkpoint>(*opened); // nobody else has it
    for (Module& m : checkpoint->modules) {
      if (!m.linear || m.layer < 0)
        continue;
      const FloatView weight{m.weight.scheme.float_type, m.weight.rows, m.weight.cols,
                             m.weight.codes};
      const Json params = Json::object();
      auto out =
          rtn->quantize({weight, *scheme, params, "minmax", {}, *compute_, feedback_, m.name});
      if (!out)
        return nullptr;
      m.weight = std::move(out->tensor);
    }
    return checkpoint;
  }

 private Q_SLOTS:
  void initTestCase() {
    auto made = make_cpu_compute();
    QVERIFY2(made.ok(), made ? "" : made.error().text().c_str());
    compute_ = std::move(*made);
  }

  void text_is_cut_by_the_rule() {
    FakeEngine engine(40, 40, 1, 1);
    const auto text = make_eval_text(engine.checkpoint(), "abcdefghijklmnopqrstu\n\n", 8, 0);
    QVERIFY(text.ok());
    QCOMPARE(text->ids.size(), std::size_t(23)); // BOS, 21 letters, one of two newlines
    QCOMPARE(text->ids[0], 1);
    const auto small = make_eval_text(engine.checkpoint(), "abc", 8, 0);
    QCOMPARE(small.error().code, std::string("bad-argument"));
    QVERIFY(small.error().message.find("4 tokens") != std::string::npos);
    QVERIFY(small.error().message.find("16") != std::string::npos);
    QVERIFY(!make_eval_text(engine.checkpoint(), "abcdefghijkl", 2, 0).ok());
    QVERIFY(!make_eval_text(engine.checkpoint(), "abcdefghijkl", 4, -1).ok());
    Checkpoint bare;
    bare.tokenizer_problem = "there is no tokenizer.json";
    const auto none = make_eval_text(bare, "abc", 8, 0);
    QVERIFY(none.error().message.find("tokenizer.json") != std::string::npos);
  }

  void perplexity_is_the_slow_sum_data() {
    QTest::addColumn<int>("context");
    QTest::addColumn<int>("chunks");
    QTest::addColumn<int>("bos");
    QTest::newRow("even") << 8 << 0 << 1;
    QTest::newRow("odd context, no BOS") << 9 << 0 << -1;
    QTest::newRow("three chunks") << 10 << 3 << 2;
  }
  void perplexity_is_the_slow_sum() {
    QFETCH(int, context);
    QFETCH(int, chunks);
    QFETCH(int, bos);
    FakeEngine engine(40, 40, bos, 1);
    const auto text = make_eval_text(
        engine.checkpoint(), "the quick brown fox jumps over the lazy dog, twice, and sleeps",
        context, chunks);
    QVERIFY(text.ok());
    std::vector<double> nll;
    for (const Ids& window : windows(*text, bos))
      for (int i = context / 2 + 1; i < context; ++i) {
        const auto p = softmax(engine.logits(std::span(window).first(std::size_t(i))));
        nll.push_back(-std::log(p[std::size_t(window[std::size_t(i)])]));
      }
    double mean = 0, square = 0;
    for (const double x : nll)
      mean += x / double(nll.size());
    for (const double x : nll)
      square += x * x / double(nll.size());
    int calls = 0;
    const auto got = perplexity(engine, *text, feedback_, [&](const PerplexityResult& r) {
      ++calls;
      QCOMPARE(r.windows, calls);
    });
    QVERIFY(got.ok());
    QCOMPARE(got->tokens, std::int64_t(nll.size()));
    QCOMPARE(got->tokens, got->windows * (context - context / 2 - 1));
    QCOMPARE(calls, int(got->windows));
    QCOMPARE(got->window_nll.size(), std::size_t(calls));
    QVERIFY(near(got->perplexity, std::exp(mean), 1e-9));
    QVERIFY(near(got->standard_error,
                 std::exp(mean) * std::sqrt((square - mean * mean) / double(nll.size() - 1)),
                 1e-6));
    QCOMPARE(feedback_.done.load(), std::uint64_t(calls));
    QCOMPARE(feedback_.total.load(), std::uint64_t(calls));
  }

  void comparison_is_the_slow_sum() {
    FakeEngine reference(40, 40, 1, 1.0), other(40, 40, 1, 1.3), close(40, 40, 1, 1.01);
    const auto text =
        make_eval_text(reference.checkpoint(),
                       "the quick brown fox jumps over the lazy dog, twice, and sleeps", 12, 0);
    QVERIFY(text.ok());
    std::vector<double> kl, nll, other_nll, reverse, drift;
    std::map<std::size_t, std::vector<double>> by_place;
    int same = 0, shared = 0;
    const auto best5 = [](const std::vector<double>& of) {
      std::vector<std::size_t> order(of.size());
      std::iota(order.begin(), order.end(), std::size_t(0));
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return of[a] > of[b]; });
      return std::set<std::size_t>(order.begin(), order.begin() + 5);
    };
    for (const Ids& window : windows(*text, 1))
      for (std::size_t i = 7; i < 12; ++i) {
        const auto p = softmax(reference.logits(std::span(window).first(i)));
        const auto q = softmax(other.logits(std::span(window).first(i)));
        double sum = 0;
        for (std::size_t k = 0; k < p.size(); ++k)
          sum += p[k] * std::log(p[k] / q[k]);
        kl.push_back(sum);
        by_place[i].push_back(sum);
        double back = 0;
        for (std::size_t k = 0; k < p.size(); ++k)
          back += q[k] * std::log(q[k] / p[k]);
        reverse.push_back(back);
        drift.push_back(q[std::size_t(window[i])] - p[std::size_t(window[i])]);
        for (const auto id : best5(p))
          shared += best5(q).count(id) > 0;
        nll.push_back(-std::log(p[std::size_t(window[i])]));
        other_nll.push_back(-std::log(q[std::size_t(window[i])]));
        same += std::max_element(p.begin(), p.end()) - p.begin() ==
                std::max_element(q.begin(), q.end()) - q.begin();
      }
    const double n = double(kl.size());
    double mean = 0, mean_nll = 0, difference = 0;
    for (std::size_t i = 0; i < kl.size(); ++i) {
      mean += kl[i] / n;
      mean_nll += nll[i] / n;
      difference += (other_nll[i] - nll[i]) / n;
    }
    Engine* engines[] = {&other};
    const auto got = compare(reference, engines, &close, *text, feedback_);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    const CompareResult& m = got->models.at(0);
    QCOMPARE(m.tokens, std::int64_t(kl.size()));
    QVERIFY(near(m.kld_mean, mean, 1e-7));
    QVERIFY(near(m.kld_max, *std::max_element(kl.begin(), kl.end()), 1e-6));
    std::sort(kl.begin(), kl.end());
    const double at = 0.99 * (n - 1);
    QVERIFY(near(m.kld_p99,
                 kl[std::size_t(at)] +
                     (kl[std::size_t(at) + 1] - kl[std::size_t(at)]) * (at - std::floor(at)),
                 1e-6));
    QVERIFY(near(got->reference_perplexity, std::exp(mean_nll), 1e-9));
    QVERIFY(near(m.ppl_ratio, std::exp(difference), 1e-9));
    QCOMPARE(m.top1_agreement, same / n);
    double mean_reverse = 0, mean_drift = 0, drift_squares = 0;
    for (std::size_t i = 0; i < kl.size(); ++i) {
      mean_reverse += reverse[i] / n;
      mean_drift += drift[i] / n;
      drift_squares += drift[i] * drift[i] / n;
    }
    QVERIFY(near(m.kld_reverse_mean, mean_reverse, 1e-7));
    QVERIFY(near(m.drift_mean, mean_drift, 1e-6));
    QVERIFY(near(m.drift_rms, std::sqrt(drift_squares), 1e-6));
    QVERIFY(near(m.top5_agreement, shared / (5 * n), 1e-12));
    // Windows of 12 score positions 7 to 11, which are fewer than the parts.
    QCOMPARE(m.by_position.size(), by_place.size());
    auto part = m.by_position.begin();
    for (const auto& [position, values] : by_place) {
      QCOMPARE(part->name, std::to_string(position) + "-" + std::to_string(position));
      QCOMPARE(part->tokens, std::int64_t(values.size()));
      QVERIFY(near(part->kld_mean,
                   std::accumulate(values.begin(), values.end(), 0.0) / double(values.size()),
                   1e-7));
      ++part;
    }
    QCOMPARE(m.worst.size(), std::min<std::size_t>(50, kl.size()));
    QVERIFY(near(m.worst[0].kld, kl.back(), 1e-6)); // sorted above
    QVERIFY(near(m.worst.back().kld, kl[kl.size() - m.worst.size()], 1e-6));
    const WorstToken& worst = m.worst[0];
    const Ids window = windows(*text, 1)[std::size_t(worst.window)];
    const auto before = std::span(window).first(std::size_t(worst.position));
    QCOMPARE(worst.token, window[std::size_t(worst.position)]);
    QVERIFY(near(worst.reference_probability,
                 softmax(reference.logits(before))[std::size_t(worst.token)], 1e-6));
    QVERIFY(near(worst.candidate_probability,
                 softmax(other.logits(before))[std::size_t(worst.token)], 1e-6));
    QVERIFY(m.ppl_ratio_stderr > 0 && m.kld_stderr > 0);
    QCOMPARE(m.window_kld.size(), got->reference_window_nll.size());
    QVERIFY(got->noise_floor > 0 && got->noise_floor < m.kld_mean);

    // The same figures as perplexity() gives; and a model against itself.
    QVERIFY(near(perplexity(other, *text, feedback_)->perplexity, m.perplexity, 1e-12));
    Engine* itself[] = {&reference};
    const auto zero = compare(reference, itself, nullptr, *text, feedback_);
    QVERIFY(zero.ok());
    QVERIFY(std::abs(zero->models[0].kld_mean) < 1e-12);
    QCOMPARE(zero->models[0].ppl_ratio, 1.0);
    QCOMPARE(zero->models[0].top1_agreement, 1.0);
    QVERIFY(!zero->notes.empty()); // no noise floor
  }

  void tokens_have_classes() {
    const auto demo = open_checkpoint(test::demo_model());
    QVERIFY(demo.ok());
    const Tokenizer& tokenizer = *(*demo)->tokenizer;
    const auto classes = [&](const char* text) {
      std::map<std::string, int> out;
      for (const auto id : tokenizer.encode(text, {false, false}))
        ++out[std::string(token_class(tokenizer, id))];
      return out;
    };
    using Classes = std::map<std::string, int>;
    QCOMPARE(classes(" the"), (Classes{{"word start", 1}}));
    QCOMPARE(classes("."), (Classes{{"punctuation", 1}}));
    QCOMPARE(classes("\n"), (Classes{{"white space", 1}}));
    QVERIFY(classes(" 29, 30").count("number"));
    QVERIFY(classes("unbelievably").count("inside a word"));
    if (tokenizer.bos() >= 0)
      QCOMPARE(std::string(token_class(tokenizer, tokenizer.bos())), std::string("special"));
  }

  void vocabularies_must_agree() {
    FakeEngine reference(40, 40, 1, 1.0);
    const auto text = make_eval_text(reference.checkpoint(), "some text that is long enough", 8, 0);
    QVERIFY(text.ok());
    const auto against = [&](FakeEngine& candidate) {
      Engine* engines[] = {&candidate};
      return compare(reference, engines, nullptr, *text, feedback_);
    };
    FakeEngine respelled(40, 40, 1, 1.0, "x");
    QCOMPARE(against(respelled).error().code, std::string("mismatch"));
    QVERIFY(against(respelled).error().message.find("\"x0\"") != std::string::npos);
    FakeEngine larger(50, 50, 1, 1.0);
    QCOMPARE(against(larger).error().code, std::string("mismatch"));
    FakeEngine padded(64, 40, 1, 1.0); // 24 rows without tokens
    const auto masked = against(padded);
    QVERIFY2(masked.ok(), masked ? "" : masked.error().text().c_str());
    QVERIFY(masked->models[0].notes.at(0).find("24 padding rows") != std::string::npos);
    QVERIFY(std::abs(masked->models[0].kld_mean) < 1e-12); // the first 40 are the same logits
  }

  void nan_is_located() {
    FakeEngine engine(40, 40, -1, 1), bad(40, 40, -1, 1);
    const auto text = make_eval_text(engine.checkpoint(), "some text that is long enough", 8, 0);
    bad.nan_at = 6;
    const auto got = perplexity(bad, *text, feedback_);
    QVERIFY(!got.ok());
    QVERIFY2(got.error().message.find("window 1 at position 5") != std::string::npos,
             got.error().message.c_str());
    Engine* engines[] = {&bad};
    QVERIFY(!compare(engine, engines, nullptr, *text, feedback_).ok());
  }

  void ids_outside_the_vocabulary_are_refused() {
    FakeEngine engine(40, 40, -1, 1);
    EvalText text;
    text.ids = Ids(32, 3);
    text.context = 8;
    for (const std::int32_t bad : {40, -1, 1 << 30}) {
      text.ids[7] = bad; // the last of a window is only ever a target
      QCOMPARE(perplexity(engine, text, feedback_).error().code, std::string("bad-argument"));
      Engine* engines[] = {&engine};
      QCOMPARE(compare(engine, engines, nullptr, text, feedback_).error().code,
               std::string("bad-argument"));
    }
  }

  void cancel() {
    FakeEngine engine(40, 40, -1, 1);
    const auto text = make_eval_text(engine.checkpoint(), "some text that is long enough", 4, 0);
    Feedback feedback;
    const auto got =
        perplexity(engine, *text, feedback, [&](const PerplexityResult&) { feedback.stop = true; });
    QVERIFY(got.error().cancelled());
  }

  // tests/reference/evaluate.py resources/demo --text resources/demo/evaluation.txt --context 256
  // --chunks 20 [--against f16]
  void demo_perplexity_is_the_reference_figure() {
    const auto checkpoint = open_checkpoint(test::demo_model());
    QVERIFY2(checkpoint.ok(), checkpoint ? "" : checkpoint.error().text().c_str());
    auto engine = Engine::create(*checkpoint, *compute_);
    QVERIFY(engine.ok());
    const auto text =
        make_eval_text(**checkpoint, read(test::demo_model() / "evaluation.txt"), 256, 20);
    QVERIFY2(text.ok(), text ? "" : text.error().text().c_str());
    const auto got = perplexity(**engine, *text, feedback_);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    qInfo("%.6f in %.2f s", got->perplexity, got->seconds);
    QCOMPARE(got->tokens, 2540);
    QVERIFY(near(got->perplexity, 7.808060301909641, 1e-5));
    QVERIFY(near(got->standard_error, 0.41427752144348123, 1e-4));
    QVERIFY(got->notes.empty());
  }

  // tests/reference/evaluate.py resources/demo --text resources/demo/evaluation.txt --context 256
  // --chunks 20 --against SCHEME: weights coded and decoded by tests/reference/quant.py.
  void demo_comparison_is_the_reference_figure_data() {
    QTest::addColumn<QString>("scheme");
    QTest::addColumn<double>("ratio");
    QTest::addColumn<double>("kld_mean");
    QTest::addColumn<double>("kld_p99");
    QTest::addColumn<double>("top1");
    QTest::newRow("int8-channel-sym")
        << "int8-channel-sym" << 0.9999924944956733 << 0.00010341067949972457
        << 0.0009729149194736095 << 0.9921259842519685;
    QTest::newRow("int4-g128-asym")
        << "int4-g128-asym" << 1.0030339005360356 << 0.017699447896124855 << 0.16832302370336374
        << 0.908267716535433;
  }
  void demo_comparison_is_the_reference_figure() {
    QFETCH(QString, scheme);
    QFETCH(double, ratio);
    QFETCH(double, kld_mean);
    QFETCH(double, kld_p99);
    QFETCH(double, top1);
    const auto original = open_checkpoint(test::demo_model());
    QVERIFY(original.ok());
    const auto quantized = quantized_demo(scheme.toStdString());
    QVERIFY(quantized);
    EngineOptions options;
    options.kv = KvScheme{"f32", "f32"};
    auto reference = Engine::create(*original, *compute_);
    auto candidate = Engine::create(quantized, *compute_, options);
    std::vector<std::unique_ptr<Engine>> extra; // with int8 activations, and the noise floor
    const bool w8a8 = scheme == "int8-channel-sym";
    for (const bool floor : {false, true}) {
      EngineOptions more;
      more.activations = floor ? "" : "int8-token-dynamic";
      more.round_weights_to_f16 = floor;
      auto engine = Engine::create(floor ? *original : quantized, *compute_, more);
      QVERIFY(engine.ok());
      extra.push_back(std::move(*engine));
    }
    QVERIFY(reference.ok() && candidate.ok());
    const auto text =
        make_eval_text(**original, read(test::demo_model() / "evaluation.txt"), 256, 20);
    QVERIFY(text.ok());
    std::vector<Engine*> engines{candidate->get()};
    if (w8a8)
      engines.push_back(extra[0].get());
    const auto got =
        compare(**reference, engines, w8a8 ? extra[1].get() : nullptr, *text, feedback_);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    const CompareResult& m = got->models[0];
    for (const CompareResult& r : got->models)
      qInfo("ratio %.6f, KL %.6f, p99 %.5f, top-1 %.4f", r.ppl_ratio, r.kld_mean, r.kld_p99,
            r.top1_agreement);
    QVERIFY(near(m.ppl_ratio, ratio, 2e-5));
    QVERIFY(near(m.kld_mean, kld_mean, 1e-3));
    QVERIFY(near(m.kld_p99, kld_p99, 1e-2));
    QVERIFY(std::abs(m.top1_agreement - top1) < 1.5 / 2540);
    QVERIFY(got->noise_floor < 1e-9); // bf16 weights of this size are exact in f16
    if (w8a8)
      QVERIFY(near(got->models[1].ppl_ratio, 1.0, 5e-3));
    // The worst tokens stand in the text, and both models expect there what was noted.
    for (const std::size_t i : {0u, 7u, 49u}) {
      const WorstToken& token = m.worst.at(i);
      QVERIFY(stands_at(*text, token));
      const Place place{token.window, token.position};
      const auto tops = expected_at(**reference, *text, place, 5, feedback_);
      const auto others = expected_at(**candidate, *text, place, 5, feedback_);
      QVERIFY(tops.ok() && others.ok());
      QCOMPARE(tops->at(0).id, token.reference_top);
      QCOMPARE(others->at(0).id, token.candidate_top);
      for (const TopToken& top : *tops)
        if (top.id == token.token)
          QVERIFY(near(std::exp(top.logprob), token.reference_probability, 1e-3));
      const auto around = text_around(*(*original)->tokenizer, *text, place, 40, 20);
      QVERIFY(around.ok());
      QCOMPARE(around->token, (*original)->tokenizer->piece(token.token));
      QVERIFY(read(test::demo_model() / "evaluation.txt")
                  .find(around->before + around->token + around->after) != std::string::npos);
    }
    WorstToken gone = m.worst[0];
    gone.window = 1 << 20;
    QVERIFY(!stands_at(*text, gone));
    QVERIFY(!expected_at(**reference, *text, {gone.window, 3}, 5, feedback_).ok());
    QVERIFY(!expected_at(**reference, *text, {0, 0}, 5, feedback_).ok());
    QVERIFY(!text_around(*(*original)->tokenizer, *text, {-1, 5}, 3, 3).ok());
    QVERIFY(m.bytes < (*original)->bytes());
  }

  void long_contexts_get_a_note() {
    FakeEngine engine(40, 40, -1, 1);
    const auto text = make_eval_text(engine.checkpoint(), std::string(80, 'a'), 32, 0);
    QVERIFY(perplexity(engine, *text, feedback_)->notes.at(0).find("above the trained") !=
            std::string::npos);
  }

  void peer_perplexities_data() {
    QTest::addColumn<QString>("model");
    QTest::addColumn<QString>("text");
    QTest::addColumn<int>("chunks");
    QTest::addColumn<double>("want");
    const char *demo = "models/demo-4m/evaluation.txt",
               *t656 = "text/tinystories_minigpt.656k-charset.txt",
               *t260 = "text/tinystories_minigpt.txt";
    QTest::newRow("demo folder") << "models/demo-4m" << demo << 100 << 8.7955;
    QTest::newRow("demo F16") << "gguf/demo-4m.F16.gguf" << demo << 100 << 8.7955;
    QTest::newRow("demo Q8_0") << "gguf/demo-4m.Q8_0.gguf" << demo << 100 << 8.7979;
    QTest::newRow("656k folder") << "models/tinystories-656k" << t656 << 0 << 30.4094;
    QTest::newRow("656k f32") << "gguf/tinystories-656k.f32.gguf" << t656 << 0 << 30.4094;
    QTest::newRow("656k F16") << "gguf/tinystories-656k.F16.gguf" << t656 << 0 << 30.4098;
    QTest::newRow("656k BF16") << "gguf/tinystories-656k.BF16.gguf" << t656 << 0 << 30.4081;
    QTest::newRow("656k Q8_0") << "gguf/tinystories-656k.Q8_0.gguf" << t656 << 0 << 30.4156;
    QTest::newRow("260k folder") << "models/stories260k-hf" << t260 << 0 << 6.0482;
    QTest::newRow("260k f32") << "gguf/stories260K.f32.gguf" << t260 << 0 << 6.0482;
    QTest::newRow("260k F16") << "gguf/stories260K.F16.gguf" << t260 << 0 << 6.0480;
  }
  /// Minutes on a slow machine: BITLATHE_SLOW_TESTS=1.
  void peer_perplexities() {
    const auto data = test::shared_data();
    if (!data)
      QSKIP("the models are not beside this checkout");
    if (!std::getenv("BITLATHE_SLOW_TESTS"))
      QSKIP("set BITLATHE_SLOW_TESTS to compare whole texts with llama.cpp's figures");
    QFETCH(QString, model);
    QFETCH(QString, text);
    QFETCH(int, chunks);
    QFETCH(double, want);
    const auto checkpoint = open_checkpoint(*data / model.toStdString());
    QVERIFY2(checkpoint.ok(), checkpoint ? "" : checkpoint.error().text().c_str());
    auto engine = Engine::create(*checkpoint, *compute_);
    QVERIFY2(engine.ok(), engine ? "" : engine.error().text().c_str());
    const auto cut = make_eval_text(**checkpoint, read(*data / text.toStdString()), 256, chunks);
    QVERIFY2(cut.ok(), cut ? "" : cut.error().text().c_str());
    const auto got = perplexity(**engine, *cut, feedback_);
    QVERIFY2(got.ok(), got ? "" : got.error().text().c_str());
    qInfo("%.5f, peer %.4f, %.1f s", got->perplexity, want, got->seconds);
    QVERIFY(near(got->perplexity, want, 1e-3));
  }
};

QTEST_GUILESS_MAIN(TestEval)
#include "tst_eval.moc"
