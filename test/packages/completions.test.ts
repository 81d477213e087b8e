import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, type TestContext, test } from 'vitest'
import { bashCompletion, fishCompletion, zshCompletion } from '../../packaging/completions.ts'
import { readCommand } from '../../packaging/help-text.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { scratch } from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'

/** What three shells complete, with a real agent to ask. */

const stack = new AsyncDisposableStack()
let instance: Instance
let directory: string
const at = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = stack.use(await scratch()).path
  instance = await startInstance(stack.use(await scratch()).path, { role: 'app-role' })
  stack.defer(() => instance.stop())
  mkdirSync(at('bin'))
  PLACES.first = at('bin')
  mkdirSync(at('here/a-folder'), { recursive: true })
  writeFileSync(at('here/a-file'), '')
  writeFileSync(at('bin/metabind'), `#!/bin/sh\nexec ${process.execPath} ${CLI} "$@"\n`)
  chmodSync(at('bin/metabind'), 0o755)
  const command = readCommand(process.execPath, CLI)
  writeFileSync(at('bash'), bashCompletion(command))
  writeFileSync(at('_metabind'), zshCompletion(command))
  writeFileSync(at('metabind.fish'), fishCompletion(command))
  writeFileSync(at('capture.zsh'), CAPTURE)
})
afterAll(() => stack.disposeAsync())

/**
 * Runs a shell where there are a file and a folder, with the command of the sources first. This process is not
 * held up: the cloud that the agent asks is in it.
 */
async function run(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string[]> {
  const { stdout } = await promisify(execFile)(program, args, {
    encoding: 'utf8',
    cwd: at('here'),
    env: {
      ...{ HOME: directory, TERM: 'dumb', LC_ALL: 'C.UTF-8' },
      PATH: `${PLACES.first}:${process.env.PATH}`,
      METABIND_SOCKET: instance.metadataSocket,
      METABIND_ADMIN_SOCKET: instance.adminSocket,
      ...env,
    },
    timeout: 240_000,
  })
  return [...new Set(stdout.split('\n').filter((line) => line !== ''))].sort()
}

// As readline breaks a line: at blanks, and at = and :, which become words of their own.
const BASH = `
source "$1"
COMP_LINE=$2 COMP_POINT=\${#2}
mapfile -t COMP_WORDS < <(printf '%s' "$2" | sed -E 's/([=:])/\\n\\1\\n/g; s/ +/\\n/g' | sed '/^$/d')
[[ $2 != *' ' && $2 != *: ]] || COMP_WORDS+=('')
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_metabind
printf '%s\\n' "\${COMPREPLY[@]}"
`

// What is offered is what is handed to compadd: caught there, in a zsh that completes at a terminal.
const CAPTURE = `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT= ; stty -echo; fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -d $1/dump"
zpty -w z "compadd() {
  local -a found; builtin compadd -O found \\"\\$@\\"
  local one; for one in \\$found; do print -r -- \\"<\\$one>\\"; done >> $1/offered
  builtin compadd \\"\\$@\\"
}"
zpty -w z "done-with() { print done > $1/done }; comppostfuncs=(done-with); bindkey '^I' complete-word; bindkey '^U' kill-whole-line"
zpty -w z "zstyle ':completion:*' menu no; print -r -- ready > $1/ready"
integer turn
for ((turn = 0; turn < 600; turn++)); do [[ -e $1/ready ]] && break; sleep 0.1; done
: > $1/offered
zpty -n -w z "$2"$'\\t'
for ((turn = 0; turn < 600; turn++)); do [[ -e $1/done ]] && break; sleep 0.1; done
zpty -d z
cat $1/offered
rm -f $1/ready $1/done $1/offered
`

/** Where metabind is found. */
const PLACES = { first: '' }

type Complete = (line: string) => Promise<string[]>

const SHELLS: Readonly<Record<string, Complete>> = {
  bash: (line) => run('bash', ['--norc', '-c', BASH, 'bash', at('bash'), line]),
  zsh: async (line) => {
    const offered = await run('zsh', ['-f', at('capture.zsh'), directory, line])
    return offered.map((one) => one.replace(/^<(.*)>$/, '$1'))
  },
  fish: async (line) => {
    const script = `source ${at('metabind.fish')}; complete -C "$LINE"`
    const offered = await run('fish', ['--no-config', '-c', script], { LINE: line })
    return offered.map((one) => one.split('\t', 1)[0] ?? '')
  },
}

function requireShell(context: TestContext, shell: string): void {
  if (spawnSync(shell, ['-c', 'true']).error === undefined) return
  process.stderr.write(`skipped: ${context.task.name}: there is no ${shell}\n`)
  context.skip(`there is no ${shell}`)
}

describe.each(Object.entries(SHELLS))('%s', (shell, complete) => {
  beforeEach((context) => requireShell(context, shell))

  test.each([
    ['metabind sta', ['status']],
    ['metabind help sta', ['status']],
    ['metabind policy ', ['check', 'suggest']],
    ['metabind lockdown o', ['off', 'on']],
    ['metabind lockdown on o', []],
    ['metabind status --js', ['--json']],
    ['metabind lockdown on --prev', ['--preview']],
  ])('verbs, words and options: %s', async (line, offered) => {
    expect(await complete(line)).toEqual(offered)
  })

  test.each([
    ['metabind exec --with ', ['env', 'uri']],
    ['metabind exec --with=u', ['uri']],
    ['metabind lockdown on --containers r', ['redirect', 'refuse']],
    ['metabind simulate --cloud ', ['aliyun', 'ec2']],
    ['metabind lockdown on --user roo', ['root']],
    ['metabind token --ttl ', []],
    ['metabind identity --audience ', []],
  ])('values: %s', async (line, offered) => {
    expect((await complete(line)).map((one) => one.replace(/^--with=/, ''))).toEqual(offered)
  })

  test.each([
    ['metabind config check a-', ['a-file', 'a-folder']],
    ['metabind token --out a-', ['a-file', 'a-folder']],
    ['metabind verify a-', ['a-file', 'a-folder']],
    ['metabind inspect --socket a-', ['a-file', 'a-folder']],
    ['metabind exec -- cat a-', ['a-file', 'a-folder']],
    // The certificates are in a folder.
    ['metabind verify --anchors a-', ['a-folder']],
  ])('files where one belongs: %s', async (line, offered) => {
    expect((await complete(line)).map((one) => one.replace(/\/$/, ''))).toEqual(offered)
  })

  test.each([
    ...['config a-', 'status a-', 'get a-', 'credential a-', 'policy a-', 'token --ttl a-'],
    ...['identity --audience a-', 'lockdown a-', 'lockdown on --user a-', 'exec --role a-'],
  ])('no file where none belongs: metabind %s', async (line) => {
    // fish looks for what has it in the middle, too.
    const offered = await complete(`metabind ${line}`)
    expect(offered.filter((one) => one.startsWith('a-f'))).toEqual([])
  })

  test.each([
    ['metabind get instance-i', ['instance-id']],
    ['metabind get user', ['user-data']],
    ['metabind get /latest/dyn', ['/latest/dynamic/']],
    ['metabind get /lat', ['/latest']],
    ['metabind get dynamic/instance-identity/doc', ['dynamic/instance-identity/document']],
    ['metabind explain region', ['region-id']],
    ['metabind credential ', ['app-role']],
    ['metabind exec --role app', ['app-role']],
  ])('what the agent lists: %s', async (line, offered) => {
    expect(await complete(line)).toEqual(offered)
  })

  test('nothing that would do something in a command line', async () => {
    const names = [
      '$(touch hit)',
      '`touch hit`',
      'a;touch hit',
      'a b',
      "a'b",
      '\x1b[2J',
      '-rf~',
      '*',
    ]
    writeFileSync(at('names'), [...names, 'good'].join('\n'))
    mkdirSync(at('false'), { recursive: true })
    writeFileSync(at('false/metabind'), `#!/bin/sh\ncat ${at('names')}\n`, { mode: 0o755 })
    PLACES.first = at('false')
    try {
      const beside = ['dynamic/', 'good', 'maintenance/', 'user-data', 'vendor-data']
      expect(await complete('metabind get ')).toEqual(beside)
      expect((await complete('metabind credential ')).map((one) => one.split('/').at(-1))).toEqual([
        'good',
      ])
      expect(existsSync(at('here/hit'))).toBe(false)
    } finally {
      PLACES.first = at('bin')
    }
  })

  test('a path with colons in it', async () => {
    const [mac = ''] = await complete('metabind get network/interfaces/macs/')
    expect(mac).toMatch(/(network\/interfaces\/macs\/)?00:16:3e(:[0-9a-f]{2}){3}\/$/)
    const whole = `network/interfaces/macs/${mac.split('/').at(-2)}/`
    const [net = ''] = await complete(`metabind get ${whole}netm`)
    expect(whole + net.split('/').at(-1)).toBe(`${whole}netmask`)
  })
})
