//! `Signature-Input` and `Signature`, parsed so that nothing is lost.
//!
//! RFC 9651 lets the last of two equal keys win in silence, at three levels: labels, a signature's
//! parameters and a component's parameters. The profile refuses all three, so these visitors keep
//! every occurrence in the order received.

use std::convert::Infallible;

use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor};
use sfv::{BareItemFromInput, KeyRef, Parser};

/// More labels than this are no honest request, and comparing each with each must stay cheap.
const MAX_LABELS: usize = 16;

pub(super) type Parameter<'a> = (&'a KeyRef, BareItemFromInput<'a>);

/// A covered component as it stands in the list.
pub(super) struct Component<'a> {
    pub name: BareItemFromInput<'a>,
    pub parameters: Vec<Parameter<'a>>,
}

/// One member of `Signature-Input`.
pub(super) struct Input<'a> {
    pub label: &'a str,
    pub is_list: bool,
    pub components: Vec<Component<'a>>,
    pub parameters: Vec<Parameter<'a>>,
}

/// One member of `Signature`: its bytes, or `None` where it is no byte sequence.
pub(super) type Labelled<'a> = (&'a str, Option<Vec<u8>>);

/// The members of `Signature-Input`, or what is wrong with the field.
pub(super) fn parse_inputs(field: &str) -> Result<Vec<Input<'_>>, &'static str> {
    let mut inputs = Inputs(Vec::new());
    Parser::new(field)
        .parse_dictionary_with_visitor(&mut inputs)
        .map_err(|_| "signature-input is not a structured dictionary")?;
    distinct(inputs.0.iter().map(|input| input.label))?;
    Ok(inputs.0)
}

/// The members of `Signature`, or what is wrong with the field.
pub(super) fn parse_signatures(field: &str) -> Result<Vec<Labelled<'_>>, &'static str> {
    let mut signatures = Signatures(Vec::new());
    Parser::new(field)
        .parse_dictionary_with_visitor(&mut signatures)
        .map_err(|_| "signature is not a structured dictionary")?;
    distinct(signatures.0.iter().map(|(label, _)| *label))?;
    Ok(signatures.0)
}

fn distinct<'a>(labels: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<(), &'static str> {
    if labels.len() > MAX_LABELS {
        return Err("there are too many labels");
    }
    let repeated = labels.clone().enumerate().any(|(index, label)| labels.clone().take(index).any(|it| it == label));
    if repeated { Err("a label is repeated") } else { Ok(()) }
}

struct Inputs<'a>(Vec<Input<'a>>);

impl<'a> DictionaryVisitor<'a> for Inputs<'a> {
    type Error = Infallible;

    fn entry(&mut self, key: &'a KeyRef) -> Result<impl EntryVisitor<'a>, Infallible> {
        let input =
            Input { label: key.as_str(), is_list: false, components: Vec::new(), parameters: Vec::with_capacity(8) };
        self.0.push(input);
        Ok(Entry(self.0.last_mut().expect("one was pushed just now")))
    }
}

struct Entry<'v, 'a>(&'v mut Input<'a>);

impl<'a> ItemVisitor<'a> for Entry<'_, 'a> {
    type Error = Infallible;

    fn bare_item(self, _: BareItemFromInput<'a>) -> Result<impl ParameterVisitor<'a>, Infallible> {
        Ok(Parameters(&mut self.0.parameters))
    }
}

impl<'a> EntryVisitor<'a> for Entry<'_, 'a> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'a>, Infallible> {
        self.0.is_list = true;
        self.0.components.reserve(8);
        Ok(Components(self.0))
    }
}

struct Components<'v, 'a>(&'v mut Input<'a>);

impl<'v, 'a> InnerListVisitor<'a> for Components<'v, 'a> {
    type Error = Infallible;

    fn item(&mut self) -> Result<impl ItemVisitor<'a>, Infallible> {
        Ok(ComponentItem(&mut self.0.components))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'a>, Infallible> {
        Ok(Parameters(&mut self.0.parameters))
    }
}

struct ComponentItem<'v, 'a>(&'v mut Vec<Component<'a>>);

impl<'a> ItemVisitor<'a> for ComponentItem<'_, 'a> {
    type Error = Infallible;

    fn bare_item(self, name: BareItemFromInput<'a>) -> Result<impl ParameterVisitor<'a>, Infallible> {
        self.0.push(Component { name, parameters: Vec::new() });
        Ok(Parameters(&mut self.0.last_mut().expect("one was pushed just now").parameters))
    }
}

struct Parameters<'v, 'a>(&'v mut Vec<Parameter<'a>>);

impl<'a> ParameterVisitor<'a> for Parameters<'_, 'a> {
    type Error = Infallible;

    fn parameter(&mut self, key: &'a KeyRef, value: BareItemFromInput<'a>) -> Result<(), Infallible> {
        self.0.push((key, value));
        Ok(())
    }
}

struct Signatures<'a>(Vec<Labelled<'a>>);

impl<'a> DictionaryVisitor<'a> for Signatures<'a> {
    type Error = Infallible;

    fn entry(&mut self, key: &'a KeyRef) -> Result<impl EntryVisitor<'a>, Infallible> {
        self.0.push((key.as_str(), None));
        Ok(SignatureEntry(&mut self.0.last_mut().expect("one was pushed just now").1))
    }
}

struct SignatureEntry<'v>(&'v mut Option<Vec<u8>>);

impl<'a> ItemVisitor<'a> for SignatureEntry<'_> {
    type Error = Infallible;

    fn bare_item(self, item: BareItemFromInput<'a>) -> Result<impl ParameterVisitor<'a>, Infallible> {
        if let BareItemFromInput::ByteSequence(bytes) = item {
            *self.0 = Some(bytes);
        }
        Ok(Ignored)
    }
}

impl<'a> EntryVisitor<'a> for SignatureEntry<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'a>, Infallible> {
        Ok(Ignored)
    }
}
