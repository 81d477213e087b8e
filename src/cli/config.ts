import { CONFIG_FILE, readConfig } from '../config.ts'
import { checked } from './checked.ts'
import { requireInSandbox } from './config-sandbox.ts'
import { actionOf, parseVerb } from './options.ts'
import type { Verb } from './verb.ts'

export const config: Verb = {
  summary: 'check a configuration file',
  help: `Usage: metabind config check [FILE] [--json]

Says whether FILE (default ${CONFIG_FILE}) is a valid
configuration; if not, where it is wrong. Where the agent's unit is installed,
it also finds a path that the unit keeps the agent from.

  --json               print the answer as JSON
  -h, --help           print this text
`,
  run: async (args) => {
    const { values, positionals } = parseVerb(args, { json: { type: 'boolean' } }, 2)
    const [word, file = CONFIG_FILE] = positionals
    actionOf('config', ['check'], word)
    return checked('config-check', file, values.json === true, async () => {
      requireInSandbox(readConfig([file]))
      return { notes: [] }
    })
  },
}
