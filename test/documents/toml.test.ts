import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import { type PolicyDeps, parsePolicy } from '../../src/policy/parse.ts'
import { parseRegistrarConfig } from '../../src/registrar/registrar-config.ts'
import { blocksOf, PAGES } from '../pages/block.ts'

/** Each block of TOML on the pages is a configuration, of the agent or the registrar, or a policy, and is valid. */

const BLOCKS = PAGES.flatMap((page) => blocksOf(page)).filter(({ language }) => language === 'toml')
// Nobody is looked up: a name without a number is no mistake.
const DEPS: PolicyDeps = {
  lookUp: async () => ({ users: new Map(), groups: new Map() }),
  secretPaths: DIALECTS.aliyun.secretPaths,
  seesExecutables: true,
}

test.each(BLOCKS)('$place is valid', async ({ place, lines }) => {
  const text = lines.join('\n')
  const isPolicy = /^(?:\[\[rule\]\]|mode = )/m.test(text)
  if (isPolicy) expect(await parsePolicy(text, place, DEPS)).toBeDefined()
  else if (/^url = /m.test(text) && !/^\[registrar\]/m.test(text))
    expect(parseRegistrarConfig([{ file: place, text }])).toBeDefined()
  else expect(parseConfig([{ file: place, text }])).toBeDefined()
})
