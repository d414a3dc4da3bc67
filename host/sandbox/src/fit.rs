//! Whether a component's exports have exactly the types that this host calls them with.
//!
//! Types in WIT match by structure, so one more field is another type. The comparison is done here, before the
//! compiler, so that its answer can name the field.

use wit_parser::{InterfaceId, Resolve, Type, TypeDefKind};

/// An interface in its package.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) resolve: &'a Resolve,
    pub(crate) interface: InterfaceId,
}

/// The first difference between what the plugin offers and what the host wants, as text for the plugin's author.
pub(crate) fn difference(offered: Side<'_>, wanted: Side<'_>) -> Option<String> {
    let functions = &wanted.resolve.interfaces[wanted.interface].functions;
    let have = &offered.resolve.interfaces[offered.interface].functions;
    for (name, function) in functions {
        let Some(found) = have.get(name) else {
            return Some(format!("the function {name} is missing"));
        };
        let parameters: Vec<_> = function
            .params
            .iter()
            .map(|param| param.name.as_str())
            .collect();
        let offers: Vec<_> = found
            .params
            .iter()
            .map(|param| param.name.as_str())
            .collect();
        if offers != parameters {
            return Some(format!(
                "{name} takes ({}) where this host passes ({})",
                offers.join(", "),
                parameters.join(", ")
            ));
        }
        let pairs = found.params.iter().zip(&function.params);
        let differs = pairs
            .map(|(ours, theirs)| {
                (
                    format!("{name}({})", theirs.name),
                    Some(ours.ty),
                    Some(theirs.ty),
                )
            })
            .chain([(format!("{name} -> "), found.result, function.result)])
            .find_map(|(path, ours, theirs)| {
                compare(&path, (offered.resolve, ours), (wanted.resolve, theirs))
            });
        if differs.is_some() {
            return differs;
        }
    }
    None
}

fn compare(
    path: &str,
    offered: (&Resolve, Option<Type>),
    wanted: (&Resolve, Option<Type>),
) -> Option<String> {
    let (have, want) = (
        Shape::of(offered.0, offered.1),
        Shape::of(wanted.0, wanted.1),
    );
    if have.head != want.head {
        return Some(format!(
            "{path}: {} where this host has {}",
            have.head, want.head
        ));
    }
    if have.names() != want.names() {
        return Some(format!(
            "{path}: {} of ({}) where this host has ({})",
            have.head,
            have.names().join(", "),
            want.names().join(", ")
        ));
    }
    have.members
        .iter()
        .zip(&want.members)
        .find_map(|((name, ours), (_, theirs))| {
            compare(
                &format!("{path}.{name}"),
                (offered.0, *ours),
                (wanted.0, *theirs),
            )
        })
}

/// One level of a type: what it is, and its named parts.
struct Shape {
    head: &'static str,
    members: Vec<(String, Option<Type>)>,
}

impl Shape {
    fn of(resolve: &Resolve, ty: Option<Type>) -> Self {
        let (head, members) = match ty {
            None => ("nothing", Vec::new()),
            Some(Type::Id(id)) => match &resolve.types[id].kind {
                TypeDefKind::Type(inner) => return Self::of(resolve, Some(*inner)),
                kind => (kind.as_str(), members(kind)),
            },
            Some(primitive) => (primitive_name(primitive), Vec::new()),
        };
        Self { head, members }
    }

    fn names(&self) -> Vec<&str> {
        self.members.iter().map(|(name, _)| name.as_str()).collect()
    }
}

fn members(kind: &TypeDefKind) -> Vec<(String, Option<Type>)> {
    match kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter();
            fields
                .map(|field| (field.name.clone(), Some(field.ty)))
                .collect()
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter();
            cases.map(|case| (case.name.clone(), case.ty)).collect()
        }
        TypeDefKind::Enum(cases) => {
            let cases = cases.cases.iter();
            cases.map(|case| (case.name.clone(), None)).collect()
        }
        TypeDefKind::Flags(flags) => {
            let flags = flags.flags.iter();
            flags.map(|flag| (flag.name.clone(), None)).collect()
        }
        TypeDefKind::Tuple(tuple) => {
            let parts = tuple.types.iter().enumerate();
            parts
                .map(|(index, ty)| (index.to_string(), Some(*ty)))
                .collect()
        }
        TypeDefKind::Option(some) => vec![("some".into(), Some(*some))],
        TypeDefKind::Result(result) => {
            vec![("ok".into(), result.ok), ("err".into(), result.err)]
        }
        TypeDefKind::List(item) => vec![("item".into(), Some(*item))],
        // None of these occurs in the host's own interface, so their heads differ from all of its types.
        _ => Vec::new(),
    }
}

fn primitive_name(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
        Type::Id(_) => "a named type",
    }
}
