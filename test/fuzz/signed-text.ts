import assert from 'node:assert/strict'
import { altered, Choices } from './choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from './target.ts'

/** A token in compact form (RFC 7515, 3.1), and who reads it. */
interface SignedText {
  readonly execution: string
  readonly bytesMax: number
  readonly words: readonly string[]
  readonly genuine: string
  readonly verify: (token: string) => unknown
  /** The codes that others may be refused with. */
  readonly codes: RegExp
}

/** Holds of every text: what was not signed is refused. */
export function signedTextTarget(text: SignedText): FuzzTarget {
  const { execution, bytesMax, words, genuine, verify, codes } = text
  const signed = genuine.slice(0, genuine.lastIndexOf('.'))
  const parts = genuine.split('.').map((part) => Buffer.from(part, 'base64url'))
  const alteredToken = (choices: Choices): string => {
    if (!choices.isTrue()) return altered(Buffer.from(genuine), choices).toString('latin1')
    const at = choices.below(3)
    const changed = parts.map((part, number) => (number === at ? altered(part, choices) : part))
    return changed.map((part) => part.toString('base64url')).join('.')
  }
  return {
    execution,
    bytesMax,
    words,
    seeds: () => [
      asItIs(genuine),
      asItIs('a.b.c'),
      ...[0, 1, 2].map((part) => chosen(1, part, 0, 0, 0, 3, 1, 1)),
      chosen(0, 0, 0, 0, 0, 90, 1, 1),
    ],
    run(input) {
      const choices = new Choices(input)
      const token =
        choices.byte() === CHOSEN ? alteredToken(choices) : choices.rest().toString('latin1')
      const { code } = outcome(() => verify(token))
      if (code !== undefined) {
        assert.match(code, codes)
        return
      }
      // ECDSA itself has two signatures for one text; header and claims have one spelling.
      assert.equal(token.slice(0, token.lastIndexOf('.')), signed)
    },
  }
}
