import { spawnSync } from 'node:child_process'
import { type Block, blocksOf, isTyped } from './block.ts'
import { openShell, type Shell } from './shell.ts'
import { isAsShown } from './shown.ts'

/**
 * Runs what a page tells its reader to type, in the order of the page, in one shell with an instance of its own.
 * A page in the words of a clone (`./dev metabind a`) is read in the clone's folder and starts its instances
 * itself; any other has an installed agent that is ready.
 */

// Looked at again and again, as the command goes on in its terminal.
const LOOK_MS = 200
const LOOKS_MAX = 900
const INSTALLED = './dev up a --config /etc/metabind/metabind.toml'

/** @throws at the first command that fails or prints something else than is shown */
export async function runPage(page: string): Promise<void> {
  const blocks = blocksOf(page).filter(isRun)
  if (!blocks.some(isTyped)) return
  const shell = openShell()
  try {
    await shell.run('cd "$CLONE"')
    if (!blocks.some(isOfClone)) {
      await runBeside(shell, INSTALLED, 'ready', page)
      await shell.run('cd "$HOME"')
    }
    for (const block of blocks) await runBlock(shell, block)
  } finally {
    await shell.end()
  }
}

const isRun = (block: Block): boolean =>
  block.mark.kind === 'file' || (isTyped(block) && block.mark.kind !== 'not run')

const isOfClone = ({ lines }: Block): boolean => lines.some((line) => line.includes('./dev '))

async function runBlock(shell: Shell, block: Block): Promise<void> {
  const { mark, place, language, lines } = block
  if (mark.kind === 'file') return writeBlock(shell, block, mark.name)
  if (language === 'sh') {
    const { printed, failed } = await shell.run(lines.join('\n'))
    if (failed) throw new Error(`${place}: a line failed:\n${printed}`)
    return
  }
  for (const { command, shown } of commandsOf(block)) {
    if (mark.kind === 'another terminal') await runBeside(shell, command, shown, place)
    else {
      const { printed } = await shell.run(command)
      if (!isAsShown(shown, printed)) throw notAsShown(place, command, shown, printed)
    }
  }
}

async function writeBlock(shell: Shell, { lines, place }: Block, name: string): Promise<void> {
  const text = [...lines, 'end of the file'].join('\n')
  const { printed, failed } = await shell.run(
    `mkdir -p "$(dirname ${name})"; cat >${name} <<'end of the file'\n${text}`,
  )
  if (failed) throw new Error(`${place}: ${printed}`)
}

let terminals = 0

/** As in a terminal of its own: goes on when what is shown was printed, and the command runs on. */
async function runBeside(shell: Shell, command: string, shown: string, place: string) {
  // Not in /tmp, which two pages share if the clone is below it.
  const file = `"$HOME"/.terminal-${terminals++}`
  await shell.run(`{ ${command}\n} >${file} 2>&1 </dev/null & beside=$!`)
  let printed = ''
  for (let looks = 0; looks < LOOKS_MAX; looks++) {
    const { failed: hasEnded } = await shell.run('kill -0 $beside')
    printed = (await shell.run(`cat ${file}`)).printed
    if (isAsShown(shown, printed)) return
    if (hasEnded) break
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  throw notAsShown(place, command, shown, printed)
}

interface Command {
  readonly command: string
  readonly shown: string
}

/** The commands of a console block, each with what is shown below it. */
function commandsOf({ lines, place }: Block): Command[] {
  const found: { command: string; shown: string[] }[] = []
  for (const line of lines) {
    const last = found.at(-1)
    if (last !== undefined && last.shown.length === 0 && !isWhole(last.command)) {
      last.command += `\n${line}`
    } else if (/^\$ /.test(line)) found.push({ command: line.slice(2), shown: [] })
    else if (last === undefined) throw new Error(`${place}: begins with no prompt`)
    else last.shown.push(line)
  }
  return found.map(({ command, shown }) => ({ command, shown: shown.join('\n') }))
}

const isWhole = (command: string): boolean =>
  !command.endsWith('\\') && spawnSync('bash', ['-nc', command]).status === 0

function notAsShown(place: string, command: string, shown: string, printed: string): Error {
  return new Error(`${place}: $ ${command}\nthe page shows:\n${shown}\nprinted was:\n${printed}`)
}
