// SPDX-License-Identifier: Apache-2.0
// Text generation: the prompt in batches, then token by token.
#include "core/engine/generator.h"

namespace bitlathe {

Result<GenerateResult> generate(Engine& engine, const GenerateOptions& options,
                                Feedback& feedback) {
  TRY_ASSIGN(Generator generator, Generator::create(engine, options));
  feedback.total = std::uint64_t(options.max_new);
  feedback.done = 0;
  TRY(generator.read_prompt(feedback));
  while (!generator.ended()) {
    if (feedback.stopped())
      return cancelled_error();
    const std::size_t before = generator.result().tokens.size();
    TRY(generator.step(feedback));
    feedback.advance(generator.result().tokens.size() - before);
  }
  return generator.take();
}

} // namespace bitlathe
