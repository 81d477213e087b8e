import { z } from 'zod'
import type { Mutant } from './report.ts'

const schema = z.array(
  z.strictObject({
    why: z.string().min(20),
    file: z.string(),
    mutants: z
      .array(z.strictObject({ line: z.string(), from: z.string(), to: z.string() }))
      .min(1)
      // Of the lines that no fast test reaches: `why` names what does.
      .or(z.literal('unreached')),
  }),
)

/** Why mutants of one file live on. */
export type Explanation = z.infer<typeof schema>[number]

/** @throws Error if it is not the form of a file of survivors */
export function parseExplanations(text: string): Explanation[] {
  return schema.parse(JSON.parse(text))
}

/** What does not fit together: mutants that live on without a reason, and reasons without such a mutant. */
export interface Mismatch {
  readonly unexplained: readonly Mutant[]
  readonly stale: readonly string[]
}

const LIVES_ON: readonly Mutant['status'][] = ['Survived', 'NoCoverage', 'RuntimeError']

function livesOn({ status }: Mutant): boolean {
  return LIVES_ON.includes(status)
}

/** @param mutants all of the files that are explained */
export function compare(
  mutants: readonly Mutant[],
  explanations: readonly Explanation[],
): Mismatch {
  const living = mutants.filter(livesOn)
  const claims = explanations.flatMap((explanation) => claimsOf(explanation))
  return {
    unexplained: living.filter((mutant) => !claims.some(({ covers }) => covers(mutant))),
    stale: claims.filter(({ covers }) => !living.some(covers)).map(({ name }) => name),
  }
}

interface Claim {
  readonly name: string
  covers(mutant: Mutant): boolean
}

function claimsOf({ file, mutants }: Explanation): Claim[] {
  if (mutants === 'unreached') {
    const covers = (found: Mutant) => found.file === file && found.status === 'NoCoverage'
    return [{ name: `${file}: unreached`, covers }]
  }
  return mutants.map(({ line, from, to }) => ({
    name: `${file}: ${line}: ${from} → ${to}`,
    covers: (found) =>
      found.file === file && found.line === line && found.from === from && found.to === to,
  }))
}
