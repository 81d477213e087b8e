import { relative } from 'node:path'

/** What Stryker tells a reporter of a mutant. */
interface Tested {
  readonly fileName: string
  readonly location: { readonly start: { readonly line: number } }
  readonly replacement: string
  readonly status: string
}

/** Says of each mutant that lives on as soon as it is known: the end may be minutes away. */
class Living {
  onMutantTested({ fileName, location, replacement, status }: Tested): void {
    if (status !== 'Survived' && status !== 'NoCoverage') return
    const place = `${relative(process.cwd(), fileName)}:${location.start.line}`
    process.stderr.write(`lives on: ${place} ${status}: ${replacement.replace(/\s+/g, ' ')}\n`)
  }
}

export const strykerPlugins = [{ kind: 'Reporter', name: 'living', injectableClass: Living }]
