import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CLI } from '../harness/programs.ts'
import { COMMANDS, type CommandName, type Lockdown, lockdown, PARTS } from '../model/lockdown.ts'

/**
 * Commands of lockdown that are killed between two of their transactions, or between which another command comes:
 * what is left is what the model of test/model/lockdown.ts says. Each runs in a network of its own.
 */

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0

/** How often a part calls a program that changes something. */
const CALLS = {
  'make-rules': 1,
  'remove-rules': 1,
  'take-route': 2,
  'leave-route': 2,
  'mend-route': 0,
}
const WORDS: Readonly<Record<CommandName, string>> = {
  'on-redirect': 'on --containers redirect',
  'on-refuse': 'on',
  off: 'off',
}

// nft and ip as they are; after the call that is asked for, `then` is run.
const WRAPPED = `#!/bin/sh
D=DIRECTORY
"$D/real-$(basename "$0")" "$@"; code=$?
case " $* " in
  *"add table"*|*" replace "*|*" add "*|*" del "*|*" flush "*)
    count=$(($(cat $D/count 2>/dev/null || echo 0) + 1)); echo $count >$D/count
    if [ "$(cat $D/at 2>/dev/null)" = $count ]; then rm $D/at; parent=$PPID . $D/then; fi ;;
esac
exit $code
`

describe.skipIf(!isRoot)('lockdown, step by step [needs root]', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp('/tmp/steps-')
    for (const name of ['nft', 'ip']) {
      await run('sh', [
        '-c',
        `cp "$(readlink -f "$(command -v ${name})")" ${directory}/real-${name}`,
      ])
    }
    await writeFile(join(directory, 'metabind.toml'), '[transparent]\nenabled = true\n')
    await writeFile(join(directory, 'wrapped'), WRAPPED.replace('DIRECTORY', directory))
    await chmod(join(directory, 'wrapped'), 0o755)
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  /** @param then what happens after so many calls of the last command */
  async function after(
    first: CommandName | undefined,
    command: CommandName,
    calls: number,
    then: string,
  ) {
    const script = `
for name in nft ip; do mount --bind ${directory}/wrapped "$(readlink -f "$(command -v $name)")"; done
${directory}/real-ip link set lo up
metabind() { ${process.execPath} ${CLI} lockdown "$@" 2>>${directory}/told; }
lockdown() { case $1 in on) metabind "$@" --before-agent --user 61001 --config ${directory}/metabind.toml ;; *) metabind "$@" ;; esac; }
rm -f ${directory}/at ${directory}/count
${first === undefined ? '' : `lockdown ${WORDS[first]}`}
rm -f ${directory}/count
cat >${directory}/then <<'END'
${then}
END
echo ${calls} >${directory}/at
lockdown ${WORDS[command]} || true
[ ! -e ${directory}/at ] || echo not reached
metabind status --json || true
${directory}/real-ip -4 rule show | grep -q 7764 && ${directory}/real-ip -4 route show table 7764 | grep -q local && echo route || echo none`
    const enter = ['--net', '--mount', '--propagation', 'private', 'sh', '-ec', script]
    const { stdout } = await run('unshare', enter, { timeout: 240_000 })
    const json = stdout.slice(stdout.indexOf('{'), stdout.lastIndexOf('}') + 1)
    expect(stdout).not.toContain('not reached')
    const { state, takesContainers } = JSON.parse(json)
    const rules = state === 'off' ? 'none' : takesContainers ? 'redirect' : 'refuse'
    return `rules ${rules}, route ${stdout.trimEnd().endsWith('route')}`
  }

  const inner = (command: CommandName) => {
    const more =
      command === 'off' ? '' : ` --before-agent --user 61001 --config ${directory}/metabind.toml`
    return `${process.execPath} ${CLI} lockdown ${WORDS[command]}${more} 2>>${directory}/told`
  }

  const endsWithRules = (command: CommandName, done: number) =>
    PARTS[command][done - 1]?.endsWith('-rules') === true
  const CASES = COMMANDS.flatMap((command) =>
    [1, 2].flatMap((done) =>
      // A command gives ip ten seconds, nft a minute: on a busy machine another command fits into that of nft alone.
      (['killed', ...(endsWithRules(command, done) ? COMMANDS : [])] as const).map(
        (other) => [command, done, other] as const,
      ),
    ),
  )

  test.each(CASES)('%s, and after %i of its parts: %s', async (command, done, other) => {
    // What there is to be taken away.
    const first = command === 'on-redirect' ? undefined : 'on-redirect'
    const walk = walked()
    if (first !== undefined) walk.whole(first)
    walk.take('begin', command)
    for (let part = 0; part < done; part += 1) walk.take('step', '0')
    if (other === 'killed') walk.take('kill', '0')
    else {
      walk.take('begin', other)
      for (const _ of PARTS[other]) walk.take('step', '1')
      for (let part = done; part < PARTS[command].length; part += 1) walk.take('step', '0')
    }
    const calls = PARTS[command].slice(0, done).reduce((sum, part) => sum + CALLS[part], 0)
    const then = other === 'killed' ? 'kill -9 $parent' : inner(other)
    expect(await after(first, command, calls, then)).toBe(walk.shows())
  })
})

/** A walk through the model. */
function walked() {
  const model = lockdown()
  const actions: Readonly<Record<string, (typeof model.actions)[keyof typeof model.actions]>> =
    model.actions
  let state: Lockdown = model.initial
  const take = (action: string, arg: string): void => {
    const way = actions[action]?.(state).find(({ args }) => args[0] === arg)
    if (way === undefined) throw new Error(`${action} ${arg} cannot be taken`)
    state = way.next
  }
  return {
    take,
    whole: (command: CommandName) => {
      take('begin', command)
      for (const _ of PARTS[command]) take('step', '0')
    },
    shows: () => model.shows(state),
  }
}
