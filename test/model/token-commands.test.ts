import fc from 'fast-check'
import { expect, test } from 'vitest'
import { commands, connectionsAnew, type Held, known } from './token-commands.ts'
import { codeOf, rootsInMemory, type TokenParts, tokenParts } from './token-parts.ts'

/**
 * What `token-life` leaves out, as it visits all states: several tokens at once, any moments, all bindings, any number of
 * revocations and reboots. Orders are drawn; each must be answered as somebody outside has to expect it.
 */

// A busy machine takes minutes.
const LONG_MS = 600_000

type Redeem = (parts: TokenParts, ...shown: Parameters<Held['redeem']>) => string
const redeem: Redeem = (parts, text, caller) =>
  codeOf('accepted', () => parts.tokens.redeem(text, caller))

async function run(
  redeemed: Redeem,
  parameters: fc.Parameters<unknown>,
): Promise<fc.RunDetails<unknown>> {
  const property = fc.asyncProperty(commands, async (drawn) => {
    let parts: TokenParts | undefined
    const held: Held = {
      get parts() {
        if (parts === undefined) throw new Error('it has not begun')
        return parts
      },
      texts: [],
      connections: connectionsAnew(),
      binds: [],
      redeem: (text, caller) => redeemed(held.parts, text, caller),
    }
    parts = await tokenParts(rootsInMemory('a TPM'), () => held.binds)
    try {
      await fc.asyncModelRun(() => ({ model: known(), real: held }), drawn)
    } finally {
      parts.end()
    }
  })
  return fc.check(property, parameters)
}

test(
  'whatever is done with many tokens, the good ones are accepted, and no others',
  async () => {
    const details = await run(redeem, { numRuns: 300 })
    expect(details.failed && `${fc.defaultReportMessage(details)}\n${details.errorInstance}`).toBe(
      false,
    )
  },
  LONG_MS,
)

/** Of each refusal that these orders come by: an agent that does not know it is found out. */
test.each([
  'TOKEN_MALFORMED',
  'TOKEN_EPOCH',
  'TOKEN_FORGED',
  'TOKEN_EXPIRED',
  'TOKEN_REVOKED',
  'TOKEN_CALLER',
])(
  'without %s it would be noticed',
  async (code) => {
    const without: Redeem = (...args) => {
      const said = redeem(...args)
      return said === code ? 'accepted' : said
    }
    const { failed } = await run(without, { numRuns: 2000, endOnFailure: true })
    expect(failed).toBe(true)
  },
  LONG_MS,
)
