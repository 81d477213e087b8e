import { CONFIG_FILE, readConfig } from '../config.ts'
import { UsageError } from '../errors.ts'
import { requireInSandbox } from './config-sandbox.ts'
import { parseVerb } from './options.ts'
import { print } from './output.ts'
import type { Verb } from './verb.ts'

export const config: Verb = {
  summary: 'check a configuration file',
  help: `Usage: metabind config check [FILE]

Says whether FILE (default ${CONFIG_FILE}) is a valid configuration; if not, where it is wrong.
Where the agent's unit is installed, it also finds a path that the unit keeps the agent from.

  --help               print this text
`,
  run: async (args) => {
    const { positionals } = parseVerb(args, {}, 2)
    const [word, file = CONFIG_FILE] = positionals
    if (word !== 'check') throw new UsageError('the word check is missing')
    requireInSandbox(readConfig([file]))
    print(`${file}: valid\n`)
    return 0
  },
}
